"""Images and pairs that an export is checked on: a pair file, the validation pairs of the run, or noise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import OptionError, SiameseError
from siamese.images.alignment import failed_alignments
from siamese.images.loader import ImageLoader
from siamese.inference.pair_source import open_pairs
from siamese.inference.runtime import Runtime
from siamese.pairing.formats import read_pairs
from siamese.pairing.table import check_files_exist, unique_images
from siamese.progress import log, progress

# Of a run's own validation pairs; a file that the user names is taken whole.
MOST_PAIRS = 4000
NOISE_IMAGES = 64
# At first use somebody waits for the answer.
QUICK_PAIRS, QUICK_NOISE = 64, 16
# No power of two: a graph that took a batch's size for a constant shows it at once.
BATCH = 23
RUN = "run"


@dataclass(frozen=True)
class Samples:
    """What to embed and compare.

    Attributes:
        name: where they are from, in words.
        images: files; None for noise.
        left: row of each pair's left image, shape (N,).
        right: of its right image.
        same: labels, shape (N,); None where they are not known.
        noise: how many images of noise, where there are no files.
    """

    name: str
    images: list[Path] | None
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_] | None
    noise: int = NOISE_IMAGES

    @property
    def count(self) -> int:
        """How many images."""
        return self.noise if self.images is None else len(self.images)


@contextmanager
def open_samples(
    model: Path | None, pairs: Path | None, root: Path | None, same_label: str | None = None
) -> Iterator[Samples]:
    """The samples, for as long as they are needed: of a pair file, else of the run beside the model, else noise.

    Args:
        model: the model folder; None for an untouched encoder.
        pairs: a pair file, labelled or not.
        root: what its paths are relative to; None for its own folder.
        same_label: see `open_pairs`.

    Raises:
        PairFileError: the file is malformed, or names an image that is not there.
        OptionError: a root or a label without a pair file.
    """
    if pairs is not None:
        with open_pairs(pairs, root, same_label=same_label, need_same=False) as (frame, base):
            yield _of_pairs(frame, base, pairs.name, str(pairs))
        return
    for option, value in (("--root", root), ("--same-label", same_label)):
        if value is not None:
            raise OptionError(f"{option} {value}: is for a pair file; give --pairs, or leave it out")
    yield (None if model is None else _of_run(model / RUN)) or _noise(NOISE_IMAGES)


def quick_samples(model: Path | None) -> list[Samples]:
    """Noise, which can always be had, and some of the validation pairs of the run where they are there.

    Args:
        model: the model folder; None for an untouched encoder.
    """
    pairs = None if model is None else _of_run(model / RUN, QUICK_PAIRS, complain=False)
    return [_noise(QUICK_NOISE), *([] if pairs is None else [pairs])]


def embed_samples(
    samples: Samples, loader: ImageLoader, runtimes: Sequence[Runtime]
) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
    """Embed the same pixels by several runtimes; memory holds one batch of them.

    Returns:
        Embeddings (M, D) by each, zero where an image cannot be read or shows no face; and which can, shape (M,).
    """
    vectors = [np.zeros((samples.count, each.embedding_dim), np.float32) for each in runtimes]
    usable = np.zeros(samples.count, bool)
    starts = range(0, samples.count, BATCH)
    many = samples.count > 2 * QUICK_PAIRS
    for start in progress(starts, f"checking on {samples.count} images", unit=f"x{BATCH}") if many else starts:
        pixels, readable = _pixels(samples, loader, start)
        usable[start : start + BATCH] = readable
        if not readable.any():
            continue
        images = loader.spec.normalise(pixels[readable])
        for given, runtime in zip(vectors, runtimes, strict=True):
            given[start + np.flatnonzero(readable)] = runtime.embed(images)
    return vectors, usable


def _pixels(samples: Samples, loader: ImageLoader, start: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    if samples.images is None:
        count = min(BATCH, samples.noise - start)
        noise = np.random.default_rng(start).integers(0, 256, (count, *loader.spec.size, 3), np.uint8)
        return noise, np.ones(count, bool)
    pixels, outcomes = loader.load(samples.images[start : start + BATCH])
    return pixels, np.array([outcome.status == "ok" for outcome in outcomes], bool)


def _of_pairs(frame: pd.DataFrame, root: Path, name: str, where: str) -> Samples:
    """Pairs with an image that `siamese align` found no face in are left out."""
    failed = failed_alignments(root)
    if failed:
        frame = frame[~(frame["left"].isin(failed) | frame["right"].isin(failed))]
    check_files_exist(frame, root, where)
    images = unique_images(frame)
    lookup = pd.Index(images)
    left, right = (lookup.get_indexer(pd.Index(frame[side])).astype(np.int64) for side in ("left", "right"))
    labelled = bool(frame["same"].notna().all()) and len(frame) > 0
    same = frame["same"].to_numpy(dtype=bool) if labelled else None
    return Samples(name, [root / image for image in images], left, right, same)


def _of_run(run: Path, most: int = MOST_PAIRS, *, complain: bool = True) -> Samples | None:
    """The validation pairs that training left beside its model; None where they or their images are gone."""
    table, place = run / "val.csv", run / "root.txt"
    if not (table.is_file() and place.is_file()):
        return None
    try:
        frame = read_pairs(table)
        if len(frame) > most:
            frame = frame.sample(most, random_state=0)
        root = Path(place.read_text(encoding="utf-8").rstrip("\n"))
        return _of_pairs(frame, root, "validation pairs of the run", str(table))
    except (OSError, ValueError, SiameseError) as error:
        if complain:
            log.warning("the validation pairs of the run cannot be used (%s); --pairs names others", error)
        return None


def _noise(count: int) -> Samples:
    left = np.arange(count - 1, dtype=np.int64)
    return Samples("synthetic noise", None, left, left + 1, None, count)
