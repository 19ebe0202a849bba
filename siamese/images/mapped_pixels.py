"""Rows of a file of pixels, in the order that a run wants them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = int | slice | NDArray[np.integer[Any]] | NDArray[np.bool_]


class MappedPixels:
    """Images of a file mapped into memory, read when they are asked for; what an array (N, H, W, 3) is to a batch.

    An index by number, slice or array gives a copy, as fancy indexing of an array does. A copy for another process
    maps the file anew instead of carrying it along.

    Args:
        file: rows of H * W * 3 bytes.
        rows: the row of each image, shape (N,); -1 for a black one.
        size: H and W.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, file: Path, rows: NDArray[np.int64], size: tuple[int, int]) -> None:
        self._file, self._rows, self._size = file, rows, size
        self.shape = (len(rows), *size, 3)
        # A file of no bytes cannot be mapped.
        self._map: NDArray[np.uint8] = np.zeros((1, *size, 3), np.uint8)
        if rows.max(initial=-1) >= 0:
            self._map = np.memmap(file, np.uint8, "r", shape=(int(rows.max()) + 1, *size, 3))

    def __len__(self) -> int:
        """How many images."""
        return len(self._rows)

    def __getitem__(self, index: Index) -> NDArray[np.uint8]:
        rows = self._rows[index]
        gathered = self._gather(np.atleast_1d(rows))
        return gathered if np.ndim(rows) else gathered.reshape(self.shape[1:])

    def _gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = np.take(self._map, np.maximum(rows, 0), axis=0)
        pixels[rows < 0] = 0
        return pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("mapped pixels become an array by a copy")
        return self._gather(self._rows).astype(dtype or np.uint8, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedPixels, (self._file, self._rows, self._size)
