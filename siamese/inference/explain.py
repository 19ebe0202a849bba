"""Where the similarity of two images comes from: an occlusion map of each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.images.source import ImageSource
from siamese.inference.crops import load_crops
from siamese.inference.decision import check_finite
from siamese.inference.occlusion import Fill, average_by_pixel, cover, fill_of, patch_windows, window_masks
from siamese.inference.verifier import Verifier
from siamese.model.embeddings import default_batch
from siamese.progress import progress

# A quarter of the shorter side covers about one feature of an aligned face, an eye or the mouth; patches that overlap
# by two thirds place it to a twelfth. Some 120 copies of a face of 112 x 96 pixels.
PATCH, OVERLAP = 0.25, 2 / 3
# Covered copies of one batch and the float32 network input made of them: bounds the memory whatever the input's size.
BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class Explanation:
    """Where the similarity of two images comes from.

    Attributes:
        crops: the two images as the model sees them, shape (2, H, W, 3), uint8, RGB.
        maps: one an image, shape (H, W), float32, in units of similarity: by how much the similarity drops, on
            average, when a patch that holds this pixel is covered and the other image is left whole. Above 0: what
            is there speaks for the same identity; below 0: against it.
        similarity: of the two crops, nothing covered, in [-1, 1].
        patch: side of the square patches in pixels.
        fill: what covered pixels show, as of `fill_of`.
    """

    crops: NDArray[np.uint8]
    maps: tuple[NDArray[np.float32], NDArray[np.float32]]
    similarity: float
    patch: int
    fill: Fill


def explain(
    verifier: Verifier,
    left: ImageSource,
    right: ImageSource,
    *,
    patch: float = PATCH,
    overlap: float = OVERLAP,
    fill: Fill = "mean",
    batch: int | None = None,
) -> Explanation:
    """Cover one image patch by patch, the other left whole, and see how the similarity changes; then the other way.

    Occlusion (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2) with
    the similarity in place of a class score. It needs nothing of the network but its answers, so it serves any
    encoder and any pair head. Nothing in it is random.

    Args:
        verifier: decides how the images are prepared, embedded and compared.
        left: as of `Verifier.compare`.
        right: as of `Verifier.compare`.
        patch: side of the patches as a share of the image's shorter side, above 0 and at most 1.
        overlap: share of a patch's side that its neighbour covers too, from 0 to below 1. Work grows with the square
            of 1 / (patch (1 - overlap)).
        fill: `mean` or `blur`, as of `fill_of`.
        batch: covered copies at a time; None for what suits the device.

    Raises:
        ImageError: an image cannot be read.
        FaceError: no face in an image of which the model needs one.
        OptionError: `patch`, `overlap` or `fill` out of range.
        ModelError: a similarity is no number.
    """
    crops, _ = load_crops(verifier, left, right)
    return explain_crops(verifier, crops, patch=patch, overlap=overlap, fill=fill, batch=batch)


def explain_crops(
    verifier: Verifier,
    crops: NDArray[np.uint8],
    *,
    patch: float = PATCH,
    overlap: float = OVERLAP,
    fill: Fill = "mean",
    batch: int | None = None,
) -> Explanation:
    """As `explain`, of two images that are prepared already: shape (2, H, W, 3), uint8, of the model's input size."""
    size = (crops.shape[1], crops.shape[2])
    windows = patch_windows(size, patch, overlap)
    fillings = [fill_of(crop, fill) for crop in crops]
    whole = verifier.embed_pixels(crops, batch=batch)
    similarity = check_finite(verifier.name, float(verifier.similarity(whole[:1], whole[1:])[0]))
    batch = _bounded(batch or default_batch(verifier.device), crops[0].size)
    starts = range(0, len(windows), batch)
    maps = []
    patches: tuple[int, ...] = ()  # the bar is moved on by hand, a batch at a time
    with progress(patches, f"covering {2 * len(windows)} patches", 2 * len(windows), "patch") as bar:
        for side in range(2):
            drops = np.empty(len(windows))
            for start in starts:
                part = slice(start, start + batch)
                copies = cover(crops[side], window_masks(windows[part], size), fillings[side])
                drops[part] = similarity - covered_similarities(verifier, copies, whole, side, batch)
                bar.update(len(copies))
            check_finite(verifier.name, float(drops.sum()))
            maps.append(average_by_pixel(drops, windows, size))
    return Explanation(crops, (maps[0], maps[1]), similarity, int(windows[0, 2] - windows[0, 0]), fill)


def covered_similarities(
    verifier: Verifier, copies: NDArray[np.uint8], whole: NDArray[np.float32], side: int, batch: int | None = None
) -> NDArray[Any]:
    """Similarity of covered copies of one image with the whole of the other.

    Args:
        verifier: embeds and compares.
        copies: of image `side`, shape (K, H, W, 3), uint8.
        whole: embeddings of the two images, shape (2, D).
        side: 0 where the left image is covered, 1 where the right is.
        batch: copies at a time; None for what suits the device.

    Returns:
        Shape (K,), in [-1, 1].
    """
    vectors = verifier.embed_pixels(copies, batch=batch)
    other = np.broadcast_to(whole[1 - side], vectors.shape)
    return verifier.similarity(vectors, other) if side == 0 else verifier.similarity(other, vectors)


def _bounded(batch: int, values: int) -> int:
    """`batch`, or fewer where images of so many values would take more than `BATCH_BYTES` as bytes and float32."""
    return max(1, min(batch, BATCH_BYTES // (values * 5)))
