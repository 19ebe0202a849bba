"""Pair, triplet and quadruplet files: recognised by what they hold, read into the table, written from it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, cast, get_args

import pandas as pd

from siamese.errors import OptionError, PairFileError, unknown_name
from siamese.pairing.calfw import parse_calfw, write_calfw
from siamese.pairing.cfp import read_cfp
from siamese.pairing.content import Content, recognise
from siamese.pairing.delimited import parse_delimited, write_delimited
from siamese.pairing.lfw import parse_lfw, write_lfw
from siamese.pairing.lines import Shape, parse_lines, write_lines
from siamese.pairing.parquet_file import read_parquet, write_parquet
from siamese.pairing.rfw import parse_rfw, write_rfw
from siamese.pairing.table import check_pairs, check_quadruplets, check_triplets
from siamese.pairing.table_columns import PAIR_COLUMNS, QUADRUPLET_COLUMNS, TRIPLET_COLUMNS, require_columns

TableKind = Literal["pairs", "triplets", "quadruplets"]
Format = Literal["csv", "tsv", "parquet", "lines", "lfw", "rfw", "calfw"]
PAIR_FORMATS: tuple[str, ...] = get_args(Format)
TUPLE_FORMATS: tuple[str, ...] = ("csv", "tsv", "parquet", "lines")
"""The formats that hold triplets and quadruplets."""

FORMAT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "lines": PAIR_COLUMNS,
    "lfw": (*PAIR_COLUMNS, "fold", "left_identity", "right_identity"),
    "rfw": (*PAIR_COLUMNS, "fold", "left_identity", "right_identity"),
    "calfw": (*PAIR_COLUMNS, "fold", "left_identity", "right_identity"),
}
"""The only columns of a pair table that a format has a place for; a format that is not here holds all."""

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "lfw",
}
_Writer = Callable[[pd.DataFrame, Path], None]
_TUPLE_WRITERS: dict[str, _Writer] = {
    "csv": write_delimited,
    "tsv": partial(write_delimited, separator="\t"),
    "parquet": write_parquet,
    "lines": write_lines,
}
_PAIR_WRITERS: dict[str, _Writer] = _TUPLE_WRITERS | {"lfw": write_lfw, "rfw": write_rfw, "calfw": write_calfw}
_COLUMNS: dict[TableKind, tuple[str, ...]] = {
    "pairs": PAIR_COLUMNS,
    "triplets": TRIPLET_COLUMNS,
    "quadruplets": QUADRUPLET_COLUMNS,
}


def kind_of(path: str | Path) -> TableKind:
    """Whether a file holds pairs, triplets or quadruplets, by its columns or, without a header, its first lines.

    Raises:
        PairFileError: it cannot be read, or its columns are those of none.
    """
    return _kind(recognise(Path(path)))


def is_pair_file(path: str | Path) -> bool:
    """Whether a file holds pairs or tuples beyond doubt: by its columns, or by lines of three paths or a label.

    A line `NAME NUMBER` is as likely one of a list of identities as half a pair of CALFW, and a first line with
    nothing but a number stands in LFW's files and in CelebA's: those are left to whoever knows what to expect.
    """
    try:
        content = recognise(Path(path))
        _kind(content)
    except PairFileError:
        return False
    return content.form in ("named", "parquet") or content.lines in ("pairs", "triplets", "quadruplets")


def read_pairs(
    path: str | Path, *, suffix: str = ".jpg", need_same: bool = True, same_label: str | None = None
) -> pd.DataFrame:
    """Read a pair file in any form of the field, recognised by content and never by its name.

    CSV with a header (commas, semicolons, tabs or blanks) and Parquet, columns `left, right, same` or one of their
    usual other names (see `canonical_names`); lines `PATH PATH LABEL` or `PATH PATH`; LFW `pairs.txt` and
    `pairsDev*.txt`; RFW; CALFW and CPLFW; the folder `Protocol` of CFP. Rows without any value are skipped. The index
    counts from 0; messages of `check_files_exist` name the row of the file as long as it is not reset.

    Args:
        path: the file or folder.
        suffix: extension of the images that an LFW or RFW file stands for: `NAME/NAME_0001` + suffix.
        need_same: if False, a file without labels is read with every label missing.
        same_label: the value of the label column that means *same*, in any case; every other value that is not empty
            then means different. None: 1 or true is same, 0 or false is different.

    Returns:
        The pair table, as described in `check_pairs`.

    Raises:
        PairFileError: names the file, the row where there is one, what was found and what was expected.
        OptionError: `same_label` is given for a form that tells the label by itself.

    Example:
        >>> read_pairs("pairs/train.csv").columns[:3]  # doctest: +SKIP
        Index(['left', 'right', 'same'], dtype='str')
    """
    content = recognise(Path(path))
    table = _protocol_pairs(content, suffix)
    if table is not None:
        if same_label is not None:
            raise OptionError(
                f"--same-label {same_label}: {path} has no column of labels, its form tells; leave it out"
            )
        return check_pairs(table, str(path))
    if need_same and content.form == "lines" and content.lines == "unlabelled":
        raise PairFileError(
            f"{path}: is an unlabelled list, two paths a line; expected PATH PATH LABEL, where the label is 1 for "
            "same and 0 for different"
        )
    table = _cells(content, "pairs", PAIR_COLUMNS if need_same else PAIR_COLUMNS[:2])
    return check_pairs(table, str(path), need_same=need_same, same_label=same_label)


def read_any(
    path: str | Path, *, suffix: str = ".jpg", need_same: bool = True, same_label: str | None = None
) -> tuple[TableKind, pd.DataFrame]:
    """Read a file of pairs, triplets or quadruplets, whichever it holds, and say which; see their own readers.

    Raises:
        PairFileError: it is malformed.
        OptionError: `same_label` is given for a file without a column of labels.
    """
    kind = kind_of(path)
    if kind == "pairs":
        return kind, read_pairs(path, suffix=suffix, need_same=need_same, same_label=same_label)
    if same_label is not None:
        raise OptionError(f"--same-label {same_label}: {path} holds {kind}, which have no labels; leave it out")
    return kind, read_triplets(path) if kind == "triplets" else read_quadruplets(path)


def read_triplets(path: str | Path) -> pd.DataFrame:
    """Read a triplet file, recognised by content: CSV with a header, Parquet, or lines of three paths.

    Raises:
        PairFileError: names the file, the row where there is one, what was found and what was expected.
    """
    return check_triplets(_cells(recognise(Path(path)), "triplets", TRIPLET_COLUMNS), str(path))


def read_quadruplets(path: str | Path) -> pd.DataFrame:
    """Read a quadruplet file, recognised by content: CSV with a header, Parquet, or lines of four paths.

    Raises:
        PairFileError: names the file, the row where there is one, what was found and what was expected.
    """
    return check_quadruplets(_cells(recognise(Path(path)), "quadruplets", QUADRUPLET_COLUMNS), str(path))


def write_pairs(frame: pd.DataFrame, path: str | Path, format: Format | None = None) -> None:  # noqa: A002
    r"""Write a pair table, whole or not at all.

    What a format has no place for is refused by name, never dropped; `FORMAT_COLUMNS` tells beforehand.

    Args:
        frame: the pair table; its index is not written.
        path: the file to write; parent folders are created.
        format: `csv` or `tsv` (UTF-8, newline `\n`, `same` as 1 and 0); `parquet`; `lines`: `PATH PATH LABEL`, paths
            without blanks; `lfw`: the official text form, which holds paths NAME/NAME_0001.ext with one extension
            (give it to `read_pairs` as `suffix`), equally many genuine and impostor pairs in every fold, and orders
            rows by fold, genuine first; without the column `fold` it becomes the `pairsDev` form; `rfw`: its rows
            without the first line; `calfw`: two lines a pair. None: by the file's extension (.csv, .tsv, .tab,
            .parquet, .pq; .txt is lfw).

    Raises:
        OptionError: the format is unknown or cannot be told from the extension.
        PairFileError: the table is not a pair table, is empty, or holds what the format cannot.
    """
    path = Path(path)
    _write(check_pairs(_plain(frame), str(path)), path, format, _PAIR_WRITERS)


def write_triplets(frame: pd.DataFrame, path: str | Path, format: Format | None = None) -> None:  # noqa: A002
    """Write a triplet table as `csv`, `tsv`, `parquet` or `lines`, whole or not at all; see `write_pairs`.

    Raises:
        OptionError: the format is unknown, cannot be told from the extension, or holds no triplets.
        PairFileError: the table is not a triplet table, is empty, or holds what the format cannot.
    """
    path = Path(path)
    _write(check_triplets(_plain(frame), str(path)), path, format, _TUPLE_WRITERS)


def write_quadruplets(frame: pd.DataFrame, path: str | Path, format: Format | None = None) -> None:  # noqa: A002
    """Write a quadruplet table as `csv`, `tsv`, `parquet` or `lines`, whole or not at all; see `write_pairs`.

    Raises:
        OptionError: the format is unknown, cannot be told from the extension, or holds no quadruplets.
        PairFileError: the table is not a quadruplet table, is empty, or holds what the format cannot.
    """
    path = Path(path)
    _write(check_quadruplets(_plain(frame), str(path)), path, format, _TUPLE_WRITERS)


def write_any(frame: pd.DataFrame, path: str | Path, kind: TableKind, format: str | None = None) -> None:  # noqa: A002
    """Write a table of a kind; see the writer of that kind."""
    writers: dict[str, Callable[..., None]] = {
        "pairs": write_pairs,
        "triplets": write_triplets,
        "quadruplets": write_quadruplets,
    }
    writers[kind](frame, path, format)


def held_columns(frame: pd.DataFrame, path: str | Path, kind: TableKind, format: str | None = None) -> list[str]:  # noqa: A002
    """The columns of a table that the form it is to be written in has a place for, in their order."""
    name = format if format is not None else _SUFFIXES.get(Path(path).suffix.lower(), "")
    if name == "lines":
        return list(_COLUMNS[kind])
    places = FORMAT_COLUMNS.get(name, tuple(frame.columns)) if kind == "pairs" else tuple(frame.columns)
    return [column for column in frame.columns if column in places]


def _kind(content: Content) -> TableKind:
    if content.form == "lines":
        return cast(TableKind, content.lines) if content.lines in ("triplets", "quadruplets") else "pairs"
    if content.form in ("named", "parquet"):
        for kind in ("quadruplets", "triplets"):
            if set(_COLUMNS[kind]) <= set(content.columns):
                return kind
        require_columns(content.columns, PAIR_COLUMNS[:2], str(content.path))
    return "pairs"


def _protocol_pairs(content: Content, suffix: str) -> pd.DataFrame | None:
    """The pairs of a form whose labels are not a column; None for any other."""
    where = str(content.path)
    if content.form == "lfw":
        return parse_lfw(content.text, where, suffix)
    if content.form == "cfp":
        return read_cfp(list(content.groups))
    if content.form == "lines" and content.lines == "lfw-rows":
        return parse_rfw(content.text, where, suffix)
    if content.form == "lines" and content.lines == "halves":
        return parse_calfw(content.text, where, content.separator)
    return None


def _cells(content: Content, expected: TableKind, required: tuple[str, ...]) -> pd.DataFrame:
    """The columns of a file with the names of the table, and with the rows remembered."""
    path, columns = content.path, content.columns
    if content.form in ("named", "parquet"):
        require_columns(columns, required, str(path))
    found = _kind(content)
    if found != expected and not (expected == "pairs" and set(PAIR_COLUMNS[:2]) <= set(columns)):
        raise PairFileError(f"{path}: holds {found}, expected {expected}")
    if content.form == "lines":
        return parse_lines(content.text, str(path), Shape(content.lines, content.separator))
    named = content.form == "named"
    frame = parse_delimited(content.text, str(path), content.separator) if named else read_parquet(path)
    frame = frame.rename(columns=content.renamed)
    if frame.empty:
        raise PairFileError(f"{path}: has columns but no rows" + (" below its header" if named else ""))
    return frame


def _write(table: pd.DataFrame, path: Path, chosen: str | None, writers: Mapping[str, _Writer]) -> None:
    name = chosen if chosen is not None else _SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise OptionError(
            f"{path}: extension {path.suffix!r} names no format; end it in .csv, .tsv, .parquet or .txt, "
            f"or name the format: {', '.join(writers)}"
        )
    if name not in writers:
        raise unknown_name("format", name, writers)
    if path.is_dir():
        raise PairFileError(f"{path}: is a folder, expected the name of a file to write")
    if table.empty:
        raise PairFileError(f"{path}: the table has no rows, nothing to write")
    writers[name](table, path)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as itself: rows counted from 1, not by the file that it was once read from."""
    plain = frame.reset_index(drop=True)
    plain.attrs = {}
    return plain
