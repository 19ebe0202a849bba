"""The columns that tables of pairs, triplets and quadruplets must have, and those they may have besides."""

from collections.abc import Sequence

from siamese.errors import PairFileError

PAIR_COLUMNS = ("left", "right", "same")
TRIPLET_COLUMNS = ("anchor", "positive", "negative")
QUADRUPLET_COLUMNS = (*TRIPLET_COLUMNS, "negative2")
# In the order in which a checked table has them.
PAIR_KNOWN = (*PAIR_COLUMNS, "fold", "left_identity", "right_identity", "group")
QUADRUPLET_KNOWN = (*QUADRUPLET_COLUMNS, "anchor_identity", "negative_identity", "negative2_identity")


def require_columns(found: Sequence[str], required: Sequence[str], where: str) -> None:
    """Refuse a table that lacks one of `required` or names a column twice.

    Raises:
        PairFileError: names the missing or doubled column and the columns found.
    """
    names = [str(name) for name in found]
    shown = ", ".join(repr(name) for name in names)
    shown = shown if len(shown) <= 200 else shown[:200] + "..."
    missing = [name for name in required if name not in names]
    if missing:
        raise PairFileError(
            f"{where}: no column {missing[0]!r}; columns found: {shown}; expected at least {', '.join(required)}"
        )
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise PairFileError(f"{where}: column {doubled[0]!r} appears twice; columns found: {shown}")
