"""Pair and triplet files: recognised by what they hold, read into the table, written from it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from siamese.atomic import atomic_path
from siamese.errors import OptionError, PairFileError, unknown_name
from siamese.pairing.columns import require_columns
from siamese.pairing.delimited import header_cells, parse_delimited, write_delimited
from siamese.pairing.lfw import is_lfw, parse_lfw, write_lfw
from siamese.pairing.rows import remember_rows
from siamese.pairing.table import PAIR_COLUMNS, TRIPLET_COLUMNS, check_pairs, check_triplets

Format = Literal["csv", "parquet", "lfw"]
_SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".txt": "lfw"}
_EXPECTED = "expected CSV with a header, Parquet, or an LFW pairs file"


def kind_of(path: str | Path) -> Literal["pairs", "triplets"]:
    """Whether a file holds pairs or triplets, by its columns; only the header is interpreted.

    Raises:
        PairFileError: it cannot be read, or its columns are those of neither.
    """
    path = Path(path)
    content = _content(path)
    if isinstance(content, str) and is_lfw(content):
        return "pairs"
    names = header_cells(content) if isinstance(content, str) else _parquet_names(path)
    if set(TRIPLET_COLUMNS) <= set(names):
        return "triplets"
    require_columns(names, PAIR_COLUMNS[:2], str(path))
    return "pairs"


def read_pairs(path: str | Path, *, suffix: str = ".jpg", need_same: bool = True) -> pd.DataFrame:
    """Read a pair file: CSV with a header (commas or tabs), Parquet, or LFW `pairs.txt` and `pairsDev*.txt`.

    The form is recognised by content, never by the file's name. Rows without any value are skipped. The index
    counts from 0; messages of `check_files_exist` name the row of the file as long as it is not reset.

    Args:
        path: the file.
        suffix: extension of the images that an LFW file stands for: `NAME/NAME_0001` + suffix.
        need_same: if False, a file without the column `same` is read with every label missing.

    Returns:
        The pair table, as described in `check_pairs`.

    Raises:
        PairFileError: names the file, the row where there is one, what was found and what was expected.

    Example:
        >>> read_pairs("pairs/train.csv").columns[:3]  # doctest: +SKIP
        Index(['left', 'right', 'same'], dtype='str')
    """
    path = Path(path)
    content = _content(path)
    if isinstance(content, str) and is_lfw(content):
        return check_pairs(parse_lfw(content, str(path), suffix), str(path))
    required = PAIR_COLUMNS if need_same else PAIR_COLUMNS[:2]
    return check_pairs(_cells(path, content, required), str(path), need_same=need_same)


def read_triplets(path: str | Path) -> pd.DataFrame:
    """Read a triplet file, CSV with a header (commas or tabs) or Parquet, recognised by content.

    Raises:
        PairFileError: names the file, the row where there is one, what was found and what was expected.
    """
    path = Path(path)
    content = _content(path)
    if isinstance(content, str) and is_lfw(content):
        raise PairFileError(f"{path}: an LFW file holds pairs, expected triplets")
    return check_triplets(_cells(path, content, TRIPLET_COLUMNS), str(path))


def write_pairs(frame: pd.DataFrame, path: str | Path, format: Format | None = None) -> None:  # noqa: A002
    r"""Write a pair table, whole or not at all.

    Args:
        frame: the pair table; its index is not written.
        path: the file to write; parent folders are created.
        format: `csv` (UTF-8, newline `\n`, `same` as 1 and 0), `parquet`, or `lfw`: the official text form, which
            holds paths NAME/NAME_0001.ext with one extension (give it to `read_pairs` as `suffix`), equally many
            genuine and impostor pairs in every fold, and orders rows by fold, genuine first; without the column
            `fold` it becomes the `pairsDev` form. None: by the file's extension (.csv, .parquet, .pq; .txt is lfw).

    Raises:
        OptionError: the format is unknown or cannot be told from the extension.
        PairFileError: the table is not a pair table, is empty, or holds what the format cannot.
    """
    path = Path(path)
    table = check_pairs(_plain(frame), str(path))
    writers = {"csv": write_delimited, "parquet": _write_parquet, "lfw": write_lfw}
    _write(table, path, format, writers)


def write_triplets(frame: pd.DataFrame, path: str | Path, format: Format | None = None) -> None:  # noqa: A002
    """Write a triplet table as `csv` or `parquet`, whole or not at all; see `write_pairs`.

    Raises:
        OptionError: the format is unknown, cannot be told from the extension, or holds no triplets.
        PairFileError: the table is not a triplet table, or is empty.
    """
    path = Path(path)
    table = check_triplets(_plain(frame), str(path))
    _write(table, path, format, {"csv": write_delimited, "parquet": _write_parquet})


def _write(
    table: pd.DataFrame,
    path: Path,
    chosen: str | None,
    writers: Mapping[str, Callable[[pd.DataFrame, Path], None]],
) -> None:
    name = chosen if chosen is not None else _SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise OptionError(
            f"{path}: extension {path.suffix!r} names no format; end it in .csv, .parquet or .txt, "
            f"or name the format: {', '.join(writers)}"
        )
    if name not in writers:
        raise unknown_name("format", name, writers)
    if path.is_dir():
        raise PairFileError(f"{path}: is a folder, expected the name of a file to write")
    if table.empty:
        raise PairFileError(f"{path}: the table has no rows, nothing to write")
    writers[name](table, path)


def _content(path: Path) -> str | bytes:
    """The text of a text file; of a Parquet file its first four bytes."""
    if path.is_dir():
        raise PairFileError(f"{path}: is a folder, {_EXPECTED}")
    try:
        with path.open("rb") as file:
            data = file.read(4)
            if data != b"PAR1":
                data += file.read()
    except FileNotFoundError:
        raise PairFileError(f"{path}: no such file, {_EXPECTED}") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL character
        raise PairFileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return data if data == b"PAR1" else _text(data, path)


def _text(data: bytes, path: Path) -> str:
    if not data.strip():
        raise PairFileError(f"{path}: is empty, {_EXPECTED}")
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PairFileError(f"{path}: holds binary data, {_EXPECTED}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PairFileError(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def _cells(path: Path, content: str | bytes, required: tuple[str, ...]) -> pd.DataFrame:
    """The columns of a CSV or Parquet file, with the rows remembered."""
    text = isinstance(content, str)
    names = header_cells(content) if isinstance(content, str) else _parquet_names(path)
    require_columns(names, required, str(path))
    frame = parse_delimited(content, str(path)) if isinstance(content, str) else _parquet_cells(path)
    if frame.empty:
        raise PairFileError(f"{path}: has columns but no rows" + (" below its header" if text else ""))
    return frame


def _parquet_names(path: Path) -> list[str]:
    try:
        return list(parquet.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise _broken_parquet(path, error) from None


def _parquet_cells(path: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = parquet.ParquetFile(path).read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise _broken_parquet(path, error) from None
    frame = frame.reset_index(drop=True)
    remember_rows(frame, "row", 1)
    return frame


def _broken_parquet(path: Path, error: Exception) -> PairFileError:
    reason = (str(error).splitlines() or [""])[0]
    return PairFileError(f"{path}: is no whole Parquet file ({reason}); write it again")


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as itself: rows counted from 1, not by the file that it was once read from."""
    plain = frame.reset_index(drop=True)
    plain.attrs = {}
    return plain
