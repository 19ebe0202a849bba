"""The unique images of a stream of pairs, found block by block; pairs become numbers in a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from siamese.inference.pair_stream import PairStream
from siamese.pairing.arrow_columns import as_numpy, one_array
from siamese.pairing.file_rows import FileRows
from siamese.progress import progress

# Eight bytes a pair: a million images need no more.
CODE = np.dtype("<i4")
Codes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PairImages:
    """What the pairs of a stream name.

    Attributes:
        pairs: how many there are.
        labelled: whether any has a label.
        names: the images, an Arrow array of text (M,).
        codes: of each pair the two images as positions in `names`, shape (N, 2), mapped from a file.
        named: which of `names` the pairs name, shape (M,); all of them where none was known before.
        first: the first block, for messages.
    """

    pairs: int
    labelled: bool
    names: pa.Array
    codes: Codes
    named: NDArray[np.bool_]
    first: FileRows


def read_images(stream: PairStream, known: pa.Array, file: Path) -> PairImages:
    """Read all pairs once, and number their images; this also checks every row.

    Memory holds the names, a table of them to look them up, and a block of pairs.

    Args:
        stream: the pairs.
        known: images that have numbers already, those from 0; others follow in the order in which rows name them.
        file: to be written: the numbers of each pair.

    Raises:
        PairFileError: a row is malformed.
        OSError: the file cannot be written.
    """
    names, pairs, labelled, first = known, 0, False, None
    named = np.zeros(len(known), bool)
    with file.open("wb") as written:
        for block in progress(stream.blocks(), "reading pairs", unit="block"):
            codes, names = _number(block.table, names)
            written.write(codes.tobytes())
            named = np.append(named, np.ones(len(names) - len(named), bool))
            named[codes] = True
            pairs += len(block)
            same = block.table.column("same")
            labelled = labelled or same.null_count < len(same)
            first = block if first is None else first
    codes = np.memmap(file, CODE, "r", shape=(pairs, 2)) if pairs else np.zeros((0, 2), CODE)
    return PairImages(pairs, labelled, names, codes, named, first or FileRows(pa.table({})))


def _number(table: pa.Table, known: pa.Array) -> tuple[Codes, pa.Array]:
    """The numbers of a block's images, (N, 2), and the names with those that are new at the end."""
    coded = pa.concat_arrays([one_array(table.column(side)) for side in ("left", "right")]).dictionary_encode()
    codes = as_numpy(coded.indices).reshape(2, -1).T
    order = as_numpy(pa.array(codes.ravel()).unique())  # as rows name them
    names = coded.dictionary.take(pa.array(order))
    numbers = as_numpy(pc.index_in(names, value_set=known).fill_null(-1)).astype(np.int64)
    new = numbers < 0
    numbers[new] = len(known) + np.arange(np.count_nonzero(new))
    number_of = np.empty(len(order), CODE)
    number_of[order] = numbers
    return number_of[codes], pa.concat_arrays([known, names.filter(pa.array(new))])


def texts_of(names: pa.Array, rows: NDArray[np.bool_]) -> Iterator[NDArray[np.object_]]:
    """The chosen names as text, some at a time."""
    chosen = names.filter(pa.array(rows))
    for start in range(0, len(chosen), 4096):
        yield np.array(chosen.slice(start, 4096).to_pylist(), dtype=object)
