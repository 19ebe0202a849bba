"""Covering patches of an image, and a map of what that changed (Zeiler and Fergus, ECCV 2014, section 4.2)."""

from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.errors import OptionError, unknown_name

Fill = Literal["mean", "blur"]
FILLS: tuple[str, ...] = get_args(Fill)

# Deviation of the blurred fill, as a share of the image's shorter side: eyes and mouth are gone, light and skin stay.
BLUR = 0.1


def patch_windows(size: tuple[int, int], patch: float, overlap: float) -> NDArray[np.int64]:
    """Square patches that cover an image evenly: each lies wholly inside, and the outermost touch its edges.

    Args:
        size: height and width of the image in pixels.
        patch: side of a patch as a share of the shorter side, above 0 and at most 1; at least one pixel is taken.
        overlap: share of a patch's side that the next patch covers too, from 0 to below 1.

    Returns:
        Top, left, bottom and right of each patch (the last two exclusive), shape (K, 4).

    Raises:
        OptionError: a share out of its range.
    """
    if not 0 < patch <= 1:
        raise OptionError(f"patch {patch:g}: expected a share of the image's shorter side, above 0 and at most 1")
    if not 0 <= overlap < 1:
        raise OptionError(f"overlap {overlap:g}: expected a share of the patch's side, from 0 to below 1")
    side = max(1, round(patch * min(size)))
    step = max(1, round(side * (1 - overlap)))
    tops, lefts = (_places(length - side, step) for length in size)
    corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.concatenate([corners, corners + side], axis=1)


def _places(last: int, step: int) -> NDArray[np.int64]:
    """From 0 to `last` in equal steps of at most `step`, rounded to whole pixels."""
    return np.rint(np.linspace(0, last, -(-last // step) + 1)).astype(np.int64)


def window_masks(windows: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """True inside each patch: windows (K, 4) as of `patch_windows` to masks (K, H, W)."""
    rows, columns = np.arange(size[0]), np.arange(size[1])
    top, left, bottom, right = windows.T[..., None]
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
    return np.asarray(inside, dtype=bool)


def fill_of(image: NDArray[np.uint8], fill: Fill = "mean") -> NDArray[np.uint8]:
    """What covered pixels show.

    `mean`, the image's mean colour, takes everything away: of all plain colours it disturbs brightness and contrast
    least. Its patch has edges of its own, though, which an encoder may react to. `blur`, the image itself blurred by
    a Gaussian of `BLUR`, has none and takes only the detail away (Fong and Vedaldi, ICCV 2017, section 4.1); what an
    encoder reads from light and skin alone stays uncovered.

    Args:
        image: shape (H, W, 3), uint8.
        fill: `mean` or `blur`.

    Returns:
        Shape (H, W, 3), uint8.

    Raises:
        OptionError: another `fill`.
    """
    if fill not in FILLS:
        raise unknown_name("fill", fill, FILLS)
    if fill == "mean":
        colour = np.rint(image.mean(axis=(0, 1))).astype(np.uint8)
        return np.broadcast_to(colour, image.shape)
    blurred = cv2.GaussianBlur(image, (0, 0), BLUR * min(image.shape[:2]), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.uint8)


def cover(image: NDArray[np.uint8], masks: NDArray[np.bool_], filling: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copies of an image (H, W, 3), each with another mask of (K, H, W) filled from `filling`; (K, H, W, 3) uint8."""
    return np.where(masks[..., None], filling, image)


def average_by_pixel(
    values: NDArray[np.float64], windows: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """The mean, for each pixel, of the values of all patches that cover it.

    Pixels near the edge lie in fewer patches than those in the middle; the mean makes them comparable.

    Args:
        values: one a patch, shape (K,).
        windows: as of `patch_windows`; they cover the image.
        size: height and width of the image.

    Returns:
        Shape (H, W), float32, in the unit of `values`.
    """
    total, count = (_sum_over_windows(each, windows, size) for each in (values, np.ones(len(windows))))
    return np.asarray(total / np.rint(count), dtype=np.float32)


def _sum_over_windows(
    values: NDArray[np.float64], windows: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.float64]:
    """A summed-area table run backwards: four corners a patch, then running sums, however large the patches are."""
    corners = np.zeros((size[0] + 1, size[1] + 1))
    top, left, bottom, right = windows.T
    for rows, columns, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(corners, (rows, columns), sign * values)
    return np.asarray(corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1])
