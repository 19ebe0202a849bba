"""Pairs to be scored, and the folder their images are in: of a pair file, or unpacked from a file that holds both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from siamese.errors import OptionError
from siamese.pairing.face_bin import is_bin, unpack_bin

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def open_pairs(
    path: Path, root: Path | None, *, same_label: str | None = None, need_same: bool = True
) -> Iterator[tuple["pd.DataFrame", Path]]:
    """The pair table and what its paths are relative to, for as long as the images are needed.

    Args:
        path: the pair file, or a `.bin` file, whose images are unpacked into a temporary folder.
        root: what relative paths start from; None for the file's own folder.
        same_label: the value of the label column that means same; None: 1 or true.
        need_same: if False, a file without labels is read with every label missing.

    Raises:
        PairFileError: the file is malformed.
        OptionError: a root or a label for a file that has its own.
    """
    if not is_bin(path):
        from siamese.pairing.formats import read_pairs  # brings pandas, which blocks of rows do without

        base = root if root is not None else path.parent
        yield read_pairs(path, need_same=need_same, same_label=same_label), base
        return
    if root is not None or same_label is not None:
        raise OptionError(f"{path}: holds its own images and labels; leave out --root and --same-label")
    with TemporaryDirectory(prefix="siamese-") as folder:
        yield unpack_bin(path, folder), Path(folder)
