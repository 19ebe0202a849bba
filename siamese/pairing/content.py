"""What a pair file is, told by what it holds and never by its name."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from siamese.errors import PairFileError
from siamese.pairing.cfp import cfp_groups
from siamese.pairing.column_names import canonical_names
from siamese.pairing.delimited import Separator, first_line, split_line
from siamese.pairing.face_bin import starts_like_bin
from siamese.pairing.lfw import is_lfw
from siamese.pairing.lines import Kind, shape_of
from siamese.pairing.parquet_file import parquet_names
from siamese.pairing.table_columns import PAIR_KNOWN, QUADRUPLET_KNOWN, TRIPLET_COLUMNS
from siamese.text_file import decode_text

Form = Literal["named", "parquet", "lines", "lfw", "cfp"]
EXPECTED = (
    "expected CSV or TSV with a header, Parquet, lines PATH PATH LABEL, or the pairs of LFW, RFW, CALFW, CPLFW or CFP"
)
_KNOWN = tuple(dict.fromkeys((*PAIR_KNOWN, *QUADRUPLET_KNOWN)))
_HEADER_SEPARATORS: tuple[Separator, ...] = ("\t", ",", ";", " ")
_NAME = re.compile(r"[^\W\d][\w .-]{0,39}")


@dataclass(frozen=True)
class Content:
    """A pair file that was recognised.

    Attributes:
        path: of the file.
        form: `named` is text with a header.
        text: of a text file.
        separator: of its cells.
        names: of the columns, as the file has them, for `named` and `parquet`.
        lines: what a line holds, for `lines`.
        groups: the folders FF and FP, for `cfp`.
    """

    path: Path
    form: Form
    text: str = ""
    separator: Separator = ","
    names: tuple[str, ...] = ()
    lines: Kind = "pairs"
    groups: tuple[Path, ...] = ()

    @property
    def renamed(self) -> dict[str, str]:
        """Columns that stand for others: the name in the file to the name in the table.

        Raises:
            PairFileError: two columns could be the same one.
        """
        return canonical_names(self.names, _KNOWN, str(self.path))

    @property
    def columns(self) -> list[str]:
        """The names of the columns as the table has them."""
        renamed = self.renamed
        return [renamed.get(name, name) for name in self.names]


def recognise(path: Path) -> Content:
    """Tell what a file, or the folder of a protocol, holds.

    Raises:
        PairFileError: it is missing, empty, binary, not UTF-8, or a pickle of packed images.
    """
    if path.is_dir():
        groups = cfp_groups(path)
        if groups is None:
            raise PairFileError(f"{path}: is a folder, {EXPECTED} (the folder Protocol)")
        return Content(path, "cfp", groups=tuple(groups))
    data = _bytes(path)
    if data == b"PAR1":
        return Content(path, "parquet", names=tuple(parquet_names(path)))
    return _recognise_text(path, decode_text(data, path, PairFileError, EXPECTED))


def _recognise_text(path: Path, text: str) -> Content:
    if is_lfw(text):
        return Content(path, "lfw", text)
    line = first_line(text)
    for separator in _HEADER_SEPARATORS:
        named = Content(path, "named", text, separator, tuple(split_line(line, separator)))
        if _has_columns(named.columns):
            return named
    shape = shape_of(text)
    if shape is not None:
        return Content(path, "lines", text, shape.separator, lines=shape.kind)
    for separator in _HEADER_SEPARATORS[:-1]:
        names = tuple(split_line(line, separator))
        if len(names) > 1 and all(_NAME.fullmatch(name.strip()) for name in names):
            return Content(path, "named", text, separator, names)  # a header of other columns: they will be named
    raise PairFileError(f"{path}: is not recognised, its first line is {line[:100]!r}; {EXPECTED}")


def _has_columns(names: list[str]) -> bool:
    return {"left", "right"} <= set(names) or set(TRIPLET_COLUMNS) <= set(names)


def _bytes(path: Path) -> bytes:
    """All of a text file; of a Parquet file its first four bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(16)
            if data[:4] == b"PAR1":
                return data[:4]
            if not starts_like_bin(data):
                return data + file.read()
    except FileNotFoundError:
        raise PairFileError(f"{path}: no such file, {EXPECTED}") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL character
        raise PairFileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    raise PairFileError(
        f"{path}: is a .bin file, which holds its images besides the pairs; unpack it into a folder first "
        "(siamese.pairing.face_bin.unpack_bin), and read the pairs that this gives"
    )
