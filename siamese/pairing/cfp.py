"""The protocol folder of Celebrities in Frontal-Profile: pairs of numbers that count into two lists of images.

CFP (Sengupta et al., "Frontal to profile face verification in the wild", WACV 2016):

    Protocol/Pair_list_F.txt, Pair_list_P.txt        1 ../Data/Images/001/frontal/01.jpg
    Protocol/Split/FF|FP/01..10/same.txt, diff.txt   1,2

In FF both numbers count frontal images, in FP the first a frontal and the second a profile one.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siamese.errors import PairFileError

if TYPE_CHECKING:
    import pandas as pd

_LISTS = {"F": "Pair_list_F.txt", "P": "Pair_list_P.txt"}
_GROUPS = ("FF", "FP")
_LABELS = {"same.txt": True, "diff.txt": False}
_FOLD = re.compile(r"[0-9]{1,4}")


def cfp_groups(folder: Path) -> list[Path] | None:
    """The folders FF and FP that a folder stands for: the dataset, `Protocol`, `Split`, or one of them.

    Returns:
        None where the folder is no part of the protocol.
    """
    folder = folder.absolute()
    if folder.name in _GROUPS and any(_folds_of(folder)):
        return [folder]
    for split in (folder, folder / "Split", folder / "Protocol" / "Split"):
        groups = [split / name for name in _GROUPS if (split / name).is_dir()]
        if groups:
            return groups
    return None


def read_cfp(groups: list[Path]) -> "pd.DataFrame":
    """Read the pairs of FF, FP or both into a pair table.

    Args:
        groups: the folders FF and FP, or one of them, inside `Protocol/Split`.

    Returns:
        `left, right, same, fold, left_identity, right_identity, group`: paths relative to the folder that holds
        `Protocol`; fold 0 is the folder 01; the identity is the folder above `frontal` and `profile`; the group is
        FF or FP. Rows come by group and fold, genuine first.

    Raises:
        PairFileError: names the file and the line, what was found and what was expected.
    """
    import pandas as pd

    protocol = groups[0].parent.parent
    needed = sorted({letter for group in groups for letter in group.name})
    lists = {letter: _read_list(protocol, _LISTS[letter]) for letter in needed}
    parts = []
    for group in groups:
        folds = _folds_of(group)
        if not folds:
            raise PairFileError(
                f"{group}: has no folders 01, 02, ..., expected one per fold, with same.txt and diff.txt"
            )
        parts += [_read_pairs(fold / name, group.name, lists) for fold in folds for name in _LABELS]
    return pd.concat(parts, ignore_index=True)


def _folds_of(group: Path) -> list[Path]:
    numbered = [path for path in group.iterdir() if _FOLD.fullmatch(path.name) and path.is_dir()]
    return sorted(numbered, key=lambda path: int(path.name))


def _read_list(protocol: Path, name: str) -> "pd.Series[str]":
    """The paths of a list by their numbers."""
    import pandas as pd

    # The dataset's own description puts the lists beside FF and FP, its archive one folder above.
    found = [path for path in (protocol / name, protocol / "Split" / name) if path.is_file()]
    file = found[0] if found else protocol / name
    cells = _extract(file, r"^([0-9]{1,9})\s+(\S.*)$", "NUMBER PATH")
    numbers = cells[0].astype("int64")
    doubled = numbers.duplicated()
    if doubled.any():
        line = int(numbers.index[int(doubled.to_numpy().argmax())])
        raise PairFileError(f"{file} line {line}: number {numbers[line]} appears twice; every image has its own")
    paths = [posixpath.normpath(f"{protocol.name}/{path.strip()}") for path in cells[1]]
    outside = [path.startswith(("..", "/")) for path in paths]
    if any(outside):
        line = int(numbers.index[outside.index(True)])
        raise PairFileError(
            f"{file} line {line}: {cells[1][line]!r} leads out of {protocol.parent}, expected a path like "
            "../Data/Images/001/frontal/01.jpg"
        )
    return pd.Series(paths, index=numbers.to_numpy(), dtype=str)


def _read_pairs(file: Path, group: str, lists: "dict[str, pd.Series[str]]") -> "pd.DataFrame":
    import pandas as pd

    cells = _extract(file, r"^([0-9]{1,9})\s*,\s*([0-9]{1,9})$", "NUMBER,NUMBER")
    sides = {}
    for side, letter, numbers in (("left", group[0], cells[0]), ("right", group[1], cells[1])):
        numbers = numbers.astype("int64")
        unknown = ~numbers.isin(lists[letter].index).to_numpy(dtype=bool)
        if unknown.any():
            line = int(numbers.index[int(unknown.argmax())])
            raise PairFileError(
                f"{file} line {line}: number {numbers[line]} is not in {_LISTS[letter]}, which has "
                f"{lists[letter].index.min()} to {lists[letter].index.max()}"
            )
        sides[side] = lists[letter].loc[numbers].to_numpy()
    frame = pd.DataFrame(sides, dtype=str)
    frame["same"] = pd.array(np.full(len(frame), _LABELS[file.name]), dtype="boolean")
    frame["fold"] = np.int64(int(file.parent.name) - 1)
    for side in ("left", "right"):
        frame[f"{side}_identity"] = frame[side].str.extract(r"([^/]+)/[^/]+/[^/]+$", expand=False)
    return frame.assign(group=group)


def _extract(file: Path, pattern: str, expected: str) -> "pd.DataFrame":
    """The parts of every line that is not blank; the index numbers the lines."""
    import pandas as pd

    try:
        lines = pd.Series(file.read_text(encoding="utf-8-sig").split("\n"), dtype=object).str.strip()
    except FileNotFoundError:
        raise PairFileError(f"{file}: no such file, expected lines {expected}; the protocol is incomplete") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PairFileError(f"{file}: cannot be read as text: {getattr(error, 'strerror', None) or error}") from None
    lines.index = pd.RangeIndex(1, len(lines) + 1)
    lines = lines[lines != ""]
    if lines.empty:
        raise PairFileError(f"{file}: is empty, expected lines {expected}")
    cells = lines.str.extract(pattern)
    bad = cells[0].isna().to_numpy(dtype=bool)
    if bad.any():
        line = int(lines.index[int(bad.argmax())])
        raise PairFileError(f"{file} line {line}: {lines[line][:200]!r}, expected {expected}")
    return cells
