"""How much faster an epoch is on cached features than through the frozen encoder, everything else the same.

    python benchmarks/cached_features.py CROPS ENCODER

Both ways train the same head on the same views of the same images, in turns, with the same program; images a second
are those of training steps, validation left out. What computing the features costs once is printed too.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from siamese.config import make_train_config
from siamese.images.catalog import read_catalog
from siamese.training.fit import TrainResult, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path, help="aligned images by identity")
    parser.add_argument("encoder", help="NAME, NAME@TAG or NAME@FILE")
    parser.add_argument("--identities", type=int, default=150, help="those with four images or more, in order")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "identities.txt"
        counts = read_catalog(options.crops).images["identity"].value_counts()
        listing.write_text("\n".join(sorted(counts[counts >= 4].index)[: options.identities]) + "\n")
        rates: dict[str, list[float]] = {"live": [], "cached": []}
        for number in range(options.rounds):
            for features in rates:
                started = time.perf_counter()
                result = run(options, listing, Path(folder) / f"{features}{number}", features)
                rates[features].append(result.images_per_second)
                seconds = time.perf_counter() - started
                print(f"{features:6} {result.images_per_second:8.0f} images/s, {seconds:.0f} s in all", flush=True)
        medians = {name: statistics.median(values) for name, values in rates.items()}
        print(f"ratio of an epoch, medians of {options.rounds}: {medians['cached'] / medians['live']:.1f}")


def run(options: argparse.Namespace, listing: Path, folder: Path, features: str) -> TrainResult:
    """Two epochs of the triplet loss on batches of identities, on two views of each image."""
    config = make_train_config(
        {
            "data": options.crops,
            "identities": listing,
            "encoder": options.encoder,
            "loss": "triplet+mining=semihard",
            "freeze": "all",
            "views": 2,
            "epochs": 2,
            "features": features,
            "cache": folder.parent / f"cache-{folder.name}",  # nothing is there from the round before
        }
    )
    return train(config, folder)


if __name__ == "__main__":
    main()
