"""Images that are there twice: byte for byte, or as another copy of the same picture."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import TypeVar

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from siamese.errors import ImageError
from siamese.images.decode import DAMAGE, decode, open_image
from siamese.progress import progress

T = TypeVar("T")
Ints = NDArray[np.int64]

# Measured on LFW (13,233 images, five pictures published under two names): within 6 of 64 bits lie all five and 47
# other pairs of two people; of those the correlation of thumbnails passes the five alone. Of 400 copies that were
# compressed (JPEG quality 20 or 50), halved, made grey or flatter the hash finds all, of those made 30 % brighter
# 98.5 % (the correlation was not measured on them at this limit); crops are mostly not found.
DISTANCE = 6
CORRELATION = 0.97
# Side of the thumbnails that are compared: 256 bytes an image.
THUMBNAIL = 16
# JPEG is decoded at the smallest scale that still covers this, twice what the perceptual hash reduces to.
DRAFT = 64
# Files handed to the threads at a time: a future for each of a million would take more than their pictures do.
CHUNK = 4096


@dataclass(frozen=True)
class Fingerprints:
    """What is kept of each image to compare it with others.

    Attributes:
        hashes: 64-bit perceptual hash (DCT of 32 x 32, the low 8 x 8, each bit against their median), shape (N,).
        thumbnails: grey, shape (N, 16, 16), uint8.
        reasons: why an image cannot be decoded, by its row; all others can.
    """

    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    reasons: dict[int, str]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which images can be decoded, shape (N,)."""
        mask = np.ones(len(self.hashes), bool)
        mask[list(self.reasons)] = False
        return mask


def fingerprints(root: Path, paths: Sequence[str], *, workers: int | None = None) -> Fingerprints:
    """Decode every image wholly once, and keep its perceptual hash and a thumbnail.

    Args:
        root: what paths are relative to.
        paths: the images.
        workers: threads; None for what suits the machine.
    """
    hashes, reasons = np.zeros(len(paths), np.uint64), dict[int, str]()
    thumbnails = np.zeros((len(paths), THUMBNAIL, THUMBNAIL), np.uint8)
    files = [root / path for path in paths]
    for row, result in enumerate(_threaded(_fingerprint, files, "decoding images", workers)):
        if isinstance(result, str):
            reasons[row] = result
        else:
            hashes[row], thumbnails[row] = result
    return Fingerprints(hashes, thumbnails, reasons)


def exact_duplicates(
    root: Path, paths: Sequence[str], alike: NDArray[np.uint64] | None = None, *, workers: int | None = None
) -> Ints:
    """For every file the first one with the same content, by SHA-256; only files of equal size are read.

    Args:
        root: what paths are relative to.
        paths: the files, all of them readable.
        alike: numbers that equal content makes equal (perceptual hashes), to read fewer files still, shape (N,).
        workers: threads; None for what suits the machine.

    Returns:
        Shape (N,); a file that repeats no earlier one has its own position.
    """
    files = [root / path for path in paths]
    candidates = pd.DataFrame({"size": np.fromiter((file.stat().st_size for file in files), np.int64, len(files))})
    if alike is not None:
        candidates["alike"] = alike
    first = np.arange(len(files))
    rows = np.flatnonzero(candidates.duplicated(keep=False))
    digests = list(_threaded(_digest, [files[row] for row in rows], "comparing files", workers))
    codes, _ = pd.factorize(np.array(digests, dtype=object))
    first[rows] = rows[np.unique(codes, return_index=True)[1]][codes] if len(rows) else rows
    return first


def near_duplicates(
    prints: Fingerprints, groups: Ints, *, distance: int = DISTANCE, correlation: float = CORRELATION
) -> tuple[Ints, Ints]:
    """Pairs of images of two groups that show the same picture.

    Two images do when their hashes differ in at most `distance` bits and their thumbnails correlate by at least
    `correlation`. A picture without any structure correlates with nothing. Of images with equal hashes each is held
    against the first alone, and two hashes against each other by one image of each, so that a thousand copies give
    a thousand pairs and not a million.

    Args:
        prints: of N images.
        groups: identity of each image as a number, shape (N,); only pairs across groups are given.
        distance: bits that may differ, 0 to 32.
        correlation: least correlation of the thumbnails' brightness, -1 to 1.

    Returns:
        Left and right rows of each pair, left < right, ascending.
    """
    rows = np.flatnonzero(prints.readable)
    unique, inverse = np.unique(prints.hashes[rows], return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    firsts = rows[order[np.searchsorted(inverse[order], np.arange(len(unique)))]]
    lasts = _first_of_another_group(rows, inverse, groups, firsts)
    low, high = close_hashes(unique, distance)
    # Where both first images are of one group, another image of the second hash, else of the first, may not be.
    left, right = firsts[low], firsts[high]
    right = np.where(groups[left] == groups[right], lasts[high], right)
    left = np.where(groups[left] == groups[right], lasts[low], left)
    left, right = np.concatenate([firsts[inverse], left]), np.concatenate([rows, right])
    left, right = np.minimum(left, right), np.maximum(left, right)
    kept = np.flatnonzero(groups[left] != groups[right])
    kept = kept[_correlations(prints.thumbnails, left[kept], right[kept]) >= correlation]
    pairs = np.unique(np.column_stack([left[kept], right[kept]]), axis=0)
    return pairs[:, 0], pairs[:, 1]


def close_hashes(hashes: NDArray[np.uint64], distance: int) -> tuple[Ints, Ints]:
    """All pairs of distinct 64-bit hashes that differ in at most `distance` bits.

    The bits are dealt to distance + 3 bands. Two hashes that differ in at most `distance` bits agree in three whole
    bands at least, so for every three bands only hashes equal there are compared: about N^2 / 2^20 comparisons
    for each of 84 choices at distance 6, where all pairs would be N^2 / 2.

    Args:
        hashes: shape (N,), no two equal.
        distance: 0 to 32.

    Returns:
        Positions (low, high) of each pair, low < high, in no particular order, each pair once.
    """
    if not 0 <= distance <= 32:
        raise ValueError(f"distance {distance}: expected 0 to 32")
    # Neighbouring bits of the hash are neighbouring frequencies and vary together: each band takes distant ones.
    bands = distance + 3
    masks = [sum(1 << bit for bit in range(band, 64, bands)) for band in range(bands)]
    found = [np.empty(0, np.int64)]
    for three in combinations(masks, 3):
        keys = hashes & np.uint64(sum(three))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        active, step = np.arange(len(order)), 0
        while len(active):
            step += 1
            active = active[active + step < len(order)]
            active = active[keys[active] == keys[active + step]]
            one, other = order[active], order[active + step]
            close = np.bitwise_count(hashes[one] ^ hashes[other]) <= distance
            low, high = np.minimum(one[close], other[close]), np.maximum(one[close], other[close])
            found.append(low * len(hashes) + high)
    pairs = np.unique(np.concatenate(found))
    return pairs // max(len(hashes), 1), pairs % max(len(hashes), 1)


def _first_of_another_group(rows: Ints, inverse: Ints, groups: Ints, firsts: Ints) -> Ints:
    """For every hash its first image of another group than that of its very first image; without one, the first."""
    another = firsts.copy()
    differs = np.flatnonzero(groups[rows] != groups[firsts[inverse]])[::-1]  # the last assignment holds
    another[inverse[differs]] = rows[differs]
    return another


def _correlations(thumbnails: NDArray[np.uint8], left: Ints, right: Ints) -> NDArray[np.float64]:
    result = np.empty(len(left))
    for start in range(0, len(left), CHUNK):
        part = slice(start, start + CHUNK)
        one, other = (_centred(thumbnails[rows[part]]) for rows in (left, right))
        result[part] = np.einsum("nd,nd->n", one, other)
    return result


def _centred(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    # One grey level of deviation at least: noise on an even ground is no structure.
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), THUMBNAIL))


def _fingerprint(path: Path) -> tuple[np.uint64, NDArray[np.uint8]] | str:
    try:
        grey = _grey(path)
    except ImageError as error:
        return str(error)
    bits = np.packbits(imagehash.phash(grey).hash.reshape(-1))
    small = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.uint64(int.from_bytes(bits.tobytes())), np.asarray(small, dtype=np.uint8)


def _grey(path: Path) -> Image.Image:
    """Decode an image to grey; JPEG is reduced while it is decoded, which takes a fraction of the time."""
    with open_image(path) as image:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            try:
                image.draft("L", (DRAFT, DRAFT))
                return ImageOps.exif_transpose(image).convert("L")
            except DAMAGE:
                pass  # `decode` knows what can be saved, and words what cannot
    return Image.fromarray(decode(path)).convert("L")


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _threaded(work: Callable[[Path], T], files: Sequence[Path], what: str, workers: int | None) -> Iterator[T]:
    with ThreadPoolExecutor(workers) as pool:
        chunks = (pool.map(work, files[start : start + CHUNK]) for start in range(0, len(files), CHUNK))
        yield from progress(chain.from_iterable(chunks), what, len(files), "img")
