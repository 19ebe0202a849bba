"""What is wrong with the image files of a catalog: missing, unreadable, there twice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.images.duplicates import Fingerprints, exact_duplicates, fingerprints, near_duplicates
from siamese.pairing.audit import LIMIT, Findings, listed
from siamese.pairing.table import present


@dataclass(frozen=True)
class ImageFindings:
    """What was found, and which images are left to work with.

    Attributes:
        findings: kinds `missing_image`, `unreadable`, `exact_duplicate`, `near_duplicate`.
        readable: whether each image of the catalog is there and can be decoded, shape (N,).
    """

    findings: Findings
    readable: NDArray[np.bool_]


def image_findings(
    root: Path, images: pd.DataFrame, *, limit: int = LIMIT, workers: int | None = None
) -> ImageFindings:
    """Decode every image of a catalog once, and say which are missing, damaged or there twice.

    Files of one content are found within identities and across them; copies of one picture (see
    `siamese.images.duplicates`) across identities only, since within one they are what augmentation makes.

    Args:
        root: what paths are relative to.
        images: columns `path` and `identity`.
        limit: problems of a kind to list.
        workers: threads; None for what suits the machine.
    """
    paths = images["path"].to_numpy(dtype=object)
    there = present(root, paths)
    missing = listed(
        "missing_image", np.flatnonzero(~there), lambda row: (paths[row], f"no such file below {root}"), limit
    )
    rows = np.flatnonzero(there)
    prints = fingerprints(root, list(paths[rows]), workers=workers)

    def damaged(row: int) -> tuple[str, str]:
        return paths[rows[row]], prints.reasons[row].removeprefix(f"{root / paths[rows[row]]}: ")

    unreadable = listed("unreadable", np.array(sorted(prints.reasons), np.int64), damaged, limit)
    readable = there.copy()
    readable[rows[~prints.readable]] = False
    twice = _duplicates(root, images[readable], _only(prints, prints.readable), limit, workers)
    return ImageFindings(Findings.joined([missing, unreadable, *twice], limit), readable)


def _only(prints: Fingerprints, kept: NDArray[np.bool_]) -> Fingerprints:
    return Fingerprints(prints.hashes[kept], prints.thumbnails[kept], {})


def _duplicates(
    root: Path, images: pd.DataFrame, prints: Fingerprints, limit: int, workers: int | None
) -> list[Findings]:
    paths, names = (images[name].to_numpy(dtype=object) for name in ("path", "identity"))
    first = exact_duplicates(root, list(paths), prints.hashes, workers=workers)

    def exact(row: int) -> tuple[str, str]:
        one, other = names[first[row]], names[row]
        whose = f"both of {one!r}" if one == other else f"which is of {one!r}, this one of {other!r}"
        return paths[row], f"same content as {paths[first[row]]}, {whose}"

    left, right = near_duplicates(prints, np.asarray(pd.factorize(names)[0], dtype=np.int64))
    other_files = first[left] != first[right]
    left, right = left[other_files], right[other_files]
    bits = np.bitwise_count(prints.hashes[left] ^ prints.hashes[right])

    def near(pair: int) -> tuple[str, str]:
        one, other = left[pair], right[pair]
        whose = f"which is of {names[one]!r}, this one of {names[other]!r}"
        return paths[other], f"same picture as {paths[one]} ({bits[pair]} of 64 bits differ), {whose}"

    return [
        listed("exact_duplicate", np.flatnonzero(first < np.arange(len(first))), exact, limit),
        listed("near_duplicate", np.arange(len(left)), near, limit),
    ]
