"""Which small network to teach: accuracy against milliseconds against megabytes, each taught for as long.

    python benchmarks/students.py WORK WEIGHTS [--minutes M | --epochs N] [--encoder NAME[:HxW] ...] [--images N]

WORK is a folder that `recipes/bundled/run.py --step prepare` filled, WEIGHTS that with the teacher. Every encoder is
taught by the recipe (`recipes/bundled.yaml`) for about M minutes (15): how many epochs that makes is told from the
speed of one epoch over 2,000 images. Options of `siamese train` may follow after `--`. AUC and accuracy are of the
validation pairs, of the best epoch; nobody of LFW's DevTest is looked at. Milliseconds are of one warm image, and of
an image in batches of 32, on 2 threads, all encoders in turn, in float32: on torch, and on OpenVINO as `siamese`
runs it. What was measured of an encoder is kept in WORK/students, so an interrupted run goes on.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "bundled"))

from bundled_recipe.figures_text import markdown
from bundled_recipe.records import Record, read_csv, read_record, write_csv, write_record
from bundled_recipe.speed import BATCH, THREADS, images_per_second, measure_cost
from bundled_recipe.train import run_command, train_command
from bundled_recipe.workplace import Workplace

from siamese.device import keep_freed_memory
from siamese.errors import DataError, OptionError, SiameseError
from siamese.inference.export import ExportJob, export_model
from siamese.inference.runtime import Runtime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.verifier import Verifier

ENCODERS = (
    "timm/regnetx_002:112x112",
    "timm/convnext_atto:112x112",
    "timm/mobilenetv3_small_100:112x112",
    "timm/lcnet_100:112x112",
    "mobilefacenet:112x96",
    "mobilefacenet_cbam:112x96",
)
PROBED = 2000
SECONDS = 60.0


@dataclass(frozen=True)
class Student:
    """An encoder and the size of its input, as `HxW`."""

    encoder: str
    size: str

    @classmethod
    def parse(cls, text: str) -> "Student":
        encoder, colon, size = text.rpartition(":")
        if not colon or not encoder or "x" not in size:
            raise OptionError(f"--encoder {text!r}: expected NAME:HxW, such as timm/regnetx_002:112x112")
        return cls(encoder, size)

    @property
    def folder(self) -> str:
        return f"{self.encoder.replace('/', '-')}-{self.size}"

    @property
    def options(self) -> list[str]:
        return ["--encoder", f"{self.encoder}@random", "--input-size", self.size]


def few_images(place: Workplace, number: int, name: str) -> Path:
    """A manifest of some training images, evenly spread over the list."""
    path = place.work / name
    if not path.is_file():
        table = read_csv(place.training_images)
        write_csv(path, table.iloc[:: max(1, len(table) // number)].head(number))
    return path


def teach(place: Workplace, student: Student, options: argparse.Namespace) -> Record:
    """Teach a student, and keep what came out."""
    folder = place.work / "students" / student.folder
    kept = folder.with_suffix(".json")
    asked = {"minutes": options.minutes, "epochs": options.epochs, "images": options.images, "train": options.train}
    found = read_record(kept)
    if found is not None and found.get("asked") == asked and (folder / "model.json").is_file():
        return found
    images = place.training_images
    if options.images is not None:
        images = few_images(place, options.images, f"images-{options.images}.csv")
    epochs = options.epochs or epochs_within(place, student, options, images)
    result = run_command(command(place, student, images, folder, epochs, options.train))
    if result["stopped"]:
        raise KeyboardInterrupt
    write_record(kept, {**result, "asked": asked})
    return {**result, "asked": asked}


def epochs_within(place: Workplace, student: Student, options: argparse.Namespace, images: Path) -> int:
    """How many epochs over `images` fill the minutes, by the pace of one over few images."""
    probe = few_images(place, PROBED, "images-probe.csv")
    folder = place.work / "students" / f"probe-{student.folder}"
    given = command(place, student, probe, folder, 1, options.train)
    pace = run_command([*given, "--force"] if (folder / "model.json").is_file() else given)["images_per_second"]
    return max(1, round(options.minutes * 60 * pace / len(read_csv(images))))


def command(
    place: Workplace, student: Student, images: Path, folder: Path, epochs: int, extra: list[str]
) -> list[str]:
    """The recipe's command with another encoder, on other images."""
    given = train_command(place, [*student.options, "--epochs", str(epochs), *extra], folder)
    return [str(images) if each == str(place.training_images) else each for each in given]


def measure_speeds(place: Workplace, students: list[Student]) -> dict[int, dict[str, float]]:
    """Images a second, by batch and runtime, all students in turn."""
    keep_freed_memory()
    torch.set_num_threads(THREADS)
    runtimes: dict[str, Runtime] = {}
    for student in students:
        folder = place.work / "students" / student.folder
        exported = export_model(ExportJob(str(folder), pairs=place.val_pairs, root=place.work)).folder
        runtimes[f"torch {student.folder}"] = Verifier.load(folder, device="cpu", runtime="torch").runtime
        runtimes[f"openvino {student.folder}"] = OpenVinoRuntime(exported, "f32", threads=THREADS)
    return {batch: images_per_second(runtimes, batch, SECONDS)[0] for batch in (1, BATCH)}


def report(place: Workplace, students: list[Student], results: list[Record]) -> str:
    speeds = measure_speeds(place, students)
    rows = []
    for student, result in zip(students, results, strict=True):
        folder = place.work / "students" / student.folder
        cost = measure_cost(Verifier.load(folder, device="cpu", runtime="torch").network)
        paces = [1000 / speeds[size][f"{on} {student.folder}"] for on in ("torch", "openvino") for size in (1, BATCH)]
        best = result["best"]
        rows.append(
            [
                f"`{student.encoder}` {student.size}",
                *(f"{cost['parameters'] / 1e6:.2f} M", f"{cost['megabytes_float16']:.2f}"),
                *(f"{result['epochs']}", f"{result['images_per_second']:.0f}", f"{result['seconds'] / 60:.0f}"),
                *(f"{best['auc']:.4f}", f"{best['accuracy']:.4f}", f"{best['eer']:.4f}"),
                *(f"{pace:.2f}" for pace in paces),
            ]
        )
    header = [
        *("student", "parameters", "MB, float16", "epochs", "images/s taught", "minutes in all"),
        *("AUC, validation", "accuracy", "EER"),
        *("torch: ms, one", "ms of 32", "OpenVINO: ms, one", "ms of 32"),
    ]
    return "\n".join(markdown(header, rows))


def main() -> int:
    options = read_options()
    place = Workplace(Path(), options.weights.resolve(), options.work.resolve(), options.seed)
    try:
        if not place.training_images.is_file():
            raise DataError(
                f"{place.work}: nothing is prepared there; run recipes/bundled/run.py --step prepare first"
            )
        students = [Student.parse(each) for each in options.encoder or ENCODERS]
        results = [teach(place, student, options) for student in students]
        print(report(place, students, results))
    except SiameseError as error:
        print(f"students: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130
    return 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images", type=int)
    parser.add_argument("--encoder", action="append")
    parser.add_argument("--seed", type=int, default=0)
    known, rest = parser.parse_known_args()
    known.train = [each for each in rest if each != "--"]
    return known


if __name__ == "__main__":
    sys.exit(main())
