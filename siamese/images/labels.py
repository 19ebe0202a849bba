"""Lines of `PATH LABEL`, without a header or with one: `labels.txt`, `identity_CelebA.txt` and their like."""

import re

import pandas as pd
import pyarrow as pa
from pyarrow import compute

from siamese.errors import DataError
from siamese.images.decode import SUFFIXES

# pandas 3 keeps text as `str`, pandas 2 as `object`; both mark what is missing with NaN.
TEXT = pd.Series(["text"]).dtype
_SUFFIX = "(?:" + "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES)) + ")"
_ENDS_AS_IMAGE = rf"(?is){_SUFFIX}$"
_TWO_IMAGES = rf"(?is){_SUFFIX}[ \t,]+\S.*{_SUFFIX}$"
_BY_SPACE = r"(?s)^(?P<path>.*\S)\s+(?P<identity>\S+)$"
_BY_TAB = r"(?s)^(?P<path>[^\t]*[^\s])\s*\t\s*(?P<identity>[^\t]*\S)$"
_BY_COMMA = r"(?s)^(?P<path>.*[^\s,])\s*,\s*(?P<identity>[^,]*[^\s,])$"
Names = tuple[tuple[str, ...], tuple[str, ...]]


def is_labels(text: str, names: Names) -> bool:
    """Whether a text is made of lines of `PATH LABEL`, by its first line.

    That line is an image with or without a label, a header such as `image_id identity`, or the number of lines.

    Args:
        text: of the file, lines ended by a newline alone.
        names: what a header may call the path, and what the identity.
    """
    first = next((line.strip() for line in text.split("\n") if line.strip()), "")
    image = re.search(rf"(?i){_SUFFIX}(?:[\s,]|$)", first)
    return bool(image) or first.isdecimal() or _is_header(first, names)


def parse_labels(text: str, where: str, names: Names) -> pd.DataFrame | None:
    """Read lines of `PATH LABEL`, separated by tabs, spaces or commas; the last field is the label.

    Paths may hold spaces, labels only where tabs or commas separate them. Blank lines, a first line that holds the
    number of lines, and a header of two names are passed over.

    Args:
        text: of the file, lines ended by a newline alone.
        where: the file, for messages.
        names: what a header may call the path, and what the identity.

    Returns:
        Columns `path` and `identity`, indexed by line from 1; None when no line has a label.

    Raises:
        DataError: a line without a label, or whose path is no image by its suffix; two images a line.
    """
    lines = pd.Series(text.split("\n"), dtype=TEXT).str.strip()
    lines.index += 1
    lines = _below_header(lines[lines != ""], names)
    if lines.empty:
        raise DataError(f"{where}: has no lines of PATH LABEL")
    rows = pa.array(lines.tolist(), pa.string())
    fields = _fields(rows, lines.iloc[0])
    path, identity = (compute.struct_field(fields, name) for name in ("path", "identity"))
    if compute.all(compute.match_substring_regex(rows, _TWO_IMAGES)).as_py() or _all(path, _TWO_IMAGES):
        raise DataError(f"{where}: holds pairs of images, expected lines of PATH LABEL; pairs are given by --pairs")
    unlabelled = compute.match_substring_regex(rows, _ENDS_AS_IMAGE)
    if compute.all(unlabelled).as_py():
        return None
    image = compute.fill_null(compute.match_substring_regex(path, _ENDS_AS_IMAGE), False)
    _refuse(lines, where, unlabelled, image)
    texts = {"path": path.to_pandas(), "identity": identity.to_pandas()}
    return pd.DataFrame(texts, dtype=TEXT).set_index(lines.index)


def _is_header(line: str, names: Names) -> bool:
    words = [word.lower() for word in re.split(r"[\s,]+", line)]
    return len(words) == 2 and words[0] in names[0] and words[1] in names[1]


def _below_header(lines: "pd.Series[str]", names: Names) -> "pd.Series[str]":
    if len(lines) and lines.iloc[0].isdecimal():
        lines = lines.iloc[1:]
    if len(lines) and _is_header(lines.iloc[0], names):
        lines = lines.iloc[1:]
    return lines


def _fields(rows: "pa.Array", first: str) -> "pa.Array":
    """Path and label of each line, null where it has only one field."""
    by_comma = "\t" not in first and re.search(rf"(?i){_SUFFIX}\s*,[^,]*$", first)
    if by_comma:
        return compute.extract_regex(rows, _BY_COMMA)
    by_space = compute.extract_regex(rows, _BY_SPACE)
    if "\t" not in first:
        return by_space
    by_tab = compute.extract_regex(rows, _BY_TAB)
    return compute.if_else(compute.is_valid(by_tab), by_tab, by_space)


def _all(texts: "pa.Array", pattern: str) -> bool:
    return bool(compute.all(compute.fill_null(compute.match_substring_regex(texts, pattern), False)).as_py())


def _refuse(lines: "pd.Series[str]", where: str, unlabelled: "pa.Array", image: "pa.Array") -> None:
    """Name the first line that lacks a label or an image."""
    bad = compute.or_(unlabelled, compute.invert(image)).to_numpy(zero_copy_only=False)
    if not bad.any():
        return
    first = int(bad.argmax())
    line, text = lines.index[first], lines.iloc[first]
    text = text if len(text) <= 200 else text[:200] + "..."
    if unlabelled[first].as_py():
        raise DataError(f"{where} line {line}: no label after {text!r}; expected PATH LABEL")
    known = ", ".join(sorted(SUFFIXES))
    raise DataError(f"{where} line {line}: {text!r} is not PATH LABEL; expected a path that ends in {known}")
