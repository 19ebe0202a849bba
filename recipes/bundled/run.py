"""Make the verifier that ships with the package: prepare the data, train, measure, pack.

    python recipes/bundled/run.py --data DATA --weights WEIGHTS --work DIR [--seed N] [--step NAME]

Every step is passed over where its result is there and whole; an interrupted one goes on where it stopped. DATA holds
`faces-train.zip`, `lfw/`, `lfw-protocol/` and `orl/`; WEIGHTS the teacher and the encoder to compare with.
"""

import argparse
import sys
from pathlib import Path

from bundled_recipe.workplace import Workplace

from siamese.errors import OptionError, SiameseError
from siamese.full_disk import word_os_error
from siamese_cli.output import talking

STEPS = ("prepare", "train", "measure", "pack")


def main() -> int:
    """Run the steps asked for; the exit code is that of `siamese`."""
    options = read_options()
    place = Workplace(options.data.resolve(), options.weights.resolve(), options.work.resolve(), options.seed)
    try:
        if options.seed < 0:
            raise OptionError(f"--seed {options.seed}: expected 0 or more")
        with talking(quiet=options.quiet):
            for step in STEPS if options.step is None else (options.step,):
                run_step(step, place, options)
    except SiameseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"Error: {word_os_error(error)}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same command goes on\n")
        return 130
    return 0


def run_step(step: str, place: Workplace, options: argparse.Namespace) -> None:
    """Run one of `STEPS`."""
    if step == "prepare":
        from bundled_recipe.prepare import prepare

        prepare(place, options.lfw_crops)
    elif step == "train":
        from bundled_recipe.train import train

        train(place, options.train)
    elif step == "measure":
        from bundled_recipe.measure import measure

        sys.stdout.write(measure(place, options.model) + "\n")
    else:
        from bundled_recipe.pack import pack

        pack(place)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder with the real faces.")
    parser.add_argument("--weights", type=Path, required=True, help="Folder with the teacher.")
    parser.add_argument("--work", type=Path, required=True, help="Folder for everything that is made.")
    parser.add_argument("--seed", type=int, default=0, help="Of training [0].")
    parser.add_argument("--step", choices=STEPS, help="Only this one [all].")
    parser.add_argument("--lfw-crops", type=Path, help="LFW as `siamese align` wrote it; saves aligning it.")
    parser.add_argument("--model", type=Path, help="Measure this model folder instead of the one that was trained.")
    parser.add_argument("--quiet", action="store_true", help="No messages.")
    parser.add_argument("train", nargs="*", metavar="-- OPTION", help="Further options of `siamese train`.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
