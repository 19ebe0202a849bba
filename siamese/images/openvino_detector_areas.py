"""Area averages of an image at any size and of any box, from one table of sums.

PyTorch's `area` interpolation is adaptive average pooling: the output pixel `i` of `n` is the plain mean of the input
pixels `floor(i size / n)` to `ceil((i + 1) size / n)`, those at the rim counted whole. With a summed-area table (Crow
1984) such a mean is four look-ups, whatever the size of the box, and the sums are integers, so nothing is rounded.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

# Pixels are brought to the range MTCNN was trained with, (x - 127.5) / 128.
MIDDLE, GAIN = np.float32(127.5), np.float32(1 / 128)


class AreaSums:
    """The summed-area table of an RGB image (H, W, 3) uint8.

    Sums are kept modulo 2^32; differences of them are right as long as a box holds less than 8 million pixels.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.height, self.width = image.shape[:2]
        # One row and one column of zeros before the first: shape (H + 1, W + 1, 3).
        self._sums = cv2.integral(image, sdepth=cv2.CV_32S)

    def resize(self, height: int, width: int) -> NDArray[np.float32]:
        """The whole image at another size, as a network's input (1, 3, height, width)."""
        top, bottom = _bins(np.array([self.height]), height)
        left, right = _bins(np.array([self.width]), width)
        rows = self._sums[bottom[0]] - self._sums[top[0]]
        sums = rows.take(right[0], axis=1) - rows.take(left[0], axis=1)
        return _means(sums[None], bottom - top, right - left)

    def crops(self, boxes: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        """Parts of the image, each brought to `size` x `size`.

        Args:
            boxes: left, top, right, bottom, shape (N, 4), within the image and not empty; right and bottom exclusive.
            size: side of the result.

        Returns:
            A network's input, shape (N, 3, size, size).
        """
        left, top, right, bottom = boxes.T
        row_from, row_to = _bins(bottom - top, size)
        column_from, column_to = _bins(right - left, size)
        above, below = ((top[:, None] + rows) * (self.width + 1) for rows in (row_from, row_to))
        before, after = (left[:, None] + columns for columns in (column_from, column_to))
        flat = self._sums.reshape(-1, 3)

        def corner(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int32]:
            return np.asarray(flat.take(rows[:, :, None] + columns[:, None, :], axis=0), dtype=np.int32)

        sums = corner(below, after) - corner(above, after) - corner(below, before) + corner(above, before)
        return _means(sums, row_to - row_from, column_to - column_from)


def _bins(sides: NDArray[np.int64], parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel of each of `parts` bins of sides (N,), and the one after its last; both (N, parts)."""
    steps = np.arange(parts, dtype=np.int64)
    return sides[:, None] * steps // parts, -(-sides[:, None] * (steps + 1) // parts)


def _means(sums: NDArray[np.int32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Means of sums (N, h, w, 3) over bins of so many rows (N, h) and columns (N, w), as a network's input."""
    means = sums.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    # Divided twice, as PyTorch does it: the same numbers to the last bit.
    means /= rows[:, None, :, None].astype(np.float32)
    means /= columns[:, None, None, :].astype(np.float32)
    means -= MIDDLE
    means *= GAIN
    return means
