"""Names that the field gives to the columns of pair, triplet and quadruplet files, brought to those of the tables."""

import re
from collections.abc import Sequence

from siamese.errors import PairFileError

_ALIASES: dict[str, tuple[str, ...]] = {
    "left": ("image1", "img1", "path1", "file1", "photo1", "filex", "first"),
    "right": ("image2", "img2", "path2", "file2", "photo2", "filey", "second"),
    "same": ("label", "issame", "target", "match"),
}


def canonical_names(found: Sequence[str], known: Sequence[str], where: str) -> dict[str, str]:
    """Which of the columns `found` stand for columns of the table under another name.

    Case, blanks, hyphens and underscores do not count: `Is Same` is `is_same`. A column that has its canonical name
    wins over any other spelling, and a spelling of the canonical name over an alias; those others stay what they are.

    Args:
        found: the names in the file.
        known: the canonical names to look for.
        where: the file that messages name.

    Returns:
        Name in the file to canonical name, for those columns that are to be renamed.

    Raises:
        PairFileError: two columns could be the same one.

    Example:
        >>> canonical_names(["Image1", "image2", "label"], ("left", "right", "same"), "p.csv")
        {'Image1': 'left', 'image2': 'right', 'label': 'same'}
    """
    renamed: dict[str, str] = {}
    for name in known:
        if name not in found and (chosen := _only(found, name, where)) is not None:
            renamed[chosen] = name
    return renamed


def _only(found: Sequence[str], name: str, where: str) -> str | None:
    """The one column that stands for `name`, None where none does."""
    for accepted in ((_plain(name),), _ALIASES.get(name, ())):
        candidates = list(dict.fromkeys(column for column in found if _plain(column) in accepted))
        if len(candidates) > 1:
            raise PairFileError(
                f"{where}: columns {candidates[0]!r} and {candidates[1]!r} could both be the column {name}; "
                f"rename the right one to {name}"
            )
        if candidates:
            return candidates[0]
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", str(name)).lower()
