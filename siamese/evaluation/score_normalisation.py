"""Scores measured against a cohort: how unusual a similarity is for the two images that have it.

Some images are similar to everybody. Their similarities with a cohort of other identities say how similar, and a
score is read in standard deviations of those. What comes out has no bounds and another scale than the cosine:
thresholds and calibration are to be fitted on scores normalised in the same way.

z-norm takes the cohort of the enrolled image (left), t-norm that of the test image (right) (Auckenthaler et al.,
"Score Normalization for Text-Independent Speaker Verification Systems", 2000), s-norm the mean of both (Shum et al.,
"Unsupervised Speaker Adaptation based on the Cosine Similarity for Text-Independent Speaker Verification", and Kenny,
"Bayesian Speaker Verification with Heavy-Tailed Priors", both Odyssey 2010).
"""

from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError, unknown_name
from siamese.evaluation.gallery_search import numbered
from siamese.similarity import normalise

Floats = NDArray[np.float64]
Method = Literal["z", "t", "s"]
METHODS: tuple[str, ...] = get_args(Method)
STD_FLOOR = 1e-6
"""A cohort that an image is equally similar to deviates by the rounding of float32 alone."""
# Similarities held at a time: 64 MiB of float32.
_BLOCK = 2**24


class CohortStatistics(NamedTuple):
    """Mean and standard deviation of the similarities of images with a cohort, each of shape (M,)."""

    mean: Floats
    std: Floats

    def of(self, rows: ArrayLike) -> Self:
        """Those of the images at `rows` (N,), such as the left images of N pairs."""
        positions = np.asarray(rows, dtype=np.int64)
        return type(self)(self.mean[positions], self.std[positions])


def cohort_statistics(
    embeddings: NDArray[Any],
    cohort: NDArray[Any],
    *,
    identities: ArrayLike | None = None,
    cohort_identities: ArrayLike | None = None,
    top: int | None = None,
    floor: float = STD_FLOOR,
) -> CohortStatistics:
    """Mean and deviation (over n) of each image's similarities with the cohort, computed in blocks.

    Each unique image needs them once, however many pairs it is in.

    Args:
        embeddings: of the images, any length but 0, shape (M, D).
        cohort: embeddings of the cohort, shape (C, D).
        identities: of the images, shape (M,); with `cohort_identities`, an image is not measured against its own.
        cohort_identities: shape (C,).
        top: use only the most similar ones, this many of the cohort for each image, at least 2: adaptive
            normalisation, the first of both forms in Matejka et al., "Analysis of Score Normalization in Multilingual
            Speaker Recognition" (Interspeech 2017). None: all.
        floor: the least deviation, above 0.

    Raises:
        OptionError: `top` or `floor` out of its range, or one kind of identities without the other.
        DataError: shapes that do not belong together, embeddings that are not finite, or an image for which
            fewer than two of the cohort remain.
    """
    _check(embeddings, cohort, top, floor)
    own, others = _codes(identities, cohort_identities, len(embeddings), len(cohort))
    unit = normalise(cohort)
    mean, std = np.empty(len(embeddings)), np.empty(len(embeddings))
    rows = max(1, _BLOCK // len(cohort))
    for start in range(0, len(embeddings), rows):
        part = slice(start, start + rows)
        # Below every cosine: sorted last, and left out of every sum.
        similarity = normalise(embeddings[part]) @ unit.T
        if own is not None:
            similarity[own[part, None] == others] = -np.inf
        mean[part], std[part] = _moments(similarity, top, start)
    return CohortStatistics(mean, np.maximum(std, floor))


def normalise_scores(
    scores: ArrayLike, left: CohortStatistics, right: CohortStatistics, method: Method = "s"
) -> Floats:
    """Normalise the scores of pairs (N,) by the statistics of their images; higher still means more similar.

    Args:
        scores: similarities, shape (N,).
        left: statistics of the left (enrolled) image of each pair, see `CohortStatistics.of`.
        right: statistics of the right (test) image of each pair.
        method: `z` is (score - mean) / deviation of the left, `t` of the right, `s` the mean of both.

    Raises:
        OptionError: another method.
        DataError: other numbers of statistics than of scores, or scores that are not finite.
    """
    if method not in METHODS:
        raise unknown_name("score normalisation", method, METHODS)
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or left.mean.shape != values.shape or right.mean.shape != values.shape:
        found = f"scores {values.shape}, statistics {left.mean.shape} and {right.mean.shape}"
        raise DataError(f"{found}: expected one of each side for every score")
    if not np.isfinite(values).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite numbers")
    sides = {"z": (left,), "t": (right,), "s": (left, right)}[method]
    return np.asarray(sum((values - side.mean) / side.std for side in sides) / len(sides), dtype=np.float64)


def _check(embeddings: NDArray[Any], cohort: NDArray[Any], top: int | None, floor: float) -> None:
    if embeddings.ndim != 2 or cohort.ndim != 2 or embeddings.shape[1] != cohort.shape[1]:
        raise DataError(
            f"embeddings {embeddings.shape} and cohort {cohort.shape}: expected (M, D) and (C, D) of one D"
        )
    if len(cohort) < 2:
        raise DataError(f"cohort of {len(cohort)} images: expected at least two, and hundreds for a steady deviation")
    if top is not None and not 2 <= top <= len(cohort):
        raise OptionError(f"top {top} of the cohort: expected 2 to {len(cohort)}, its size")
    if not floor > 0:
        raise OptionError(f"floor of the deviation {floor:g}: expected above 0")
    for what, vectors in (("embeddings", embeddings), ("embeddings of the cohort", cohort)):
        bad = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
        if bad:
            raise DataError(f"{bad} of {len(vectors)} {what} are not finite; leave those images out")


def _codes(
    identities: ArrayLike | None, cohort_identities: ArrayLike | None, images: int, members: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Identities of images and cohort as numbers of one list; None for those of the images without any."""
    if identities is None and cohort_identities is None:
        return None, np.empty(0, np.int64)
    if identities is None or cohort_identities is None:
        raise OptionError("identities of the images and of the cohort: give both or neither")
    own, others = np.asarray(identities), np.asarray(cohort_identities)
    if own.shape != (images,) or others.shape != (members,):
        found = f"identities {own.shape} and {others.shape}"
        raise DataError(f"{found}: expected ({images},) for the images and ({members},) for the cohort")
    codes = numbered(np.concatenate((own, others)), "identities of images and cohort")[1]
    return codes[:images], codes[images:]


def _moments(similarity: NDArray[Any], top: int | None, start: int) -> tuple[Floats, Floats]:
    """Mean and deviation of each row (B, C), of its highest `top` values; -inf stands for one that is left out."""
    if top is not None and top < similarity.shape[1]:
        similarity = np.partition(similarity, similarity.shape[1] - top, axis=1)[:, -top:]
    used = similarity > -np.inf
    counts = np.count_nonzero(used, axis=1)
    if counts.min() < 2:
        row = start + int(counts.argmin())
        raise DataError(
            f"image {row}: {counts.min()} of the cohort show another identity, expected at least two; "
            "enlarge the cohort"
        )
    mean = similarity.mean(axis=1, where=used, dtype=np.float64)
    # In two passes: the mean of squares less the square of the mean loses what is small beside the mean.
    deviations = np.where(used, similarity - mean[:, None], 0.0)
    return mean, np.sqrt(np.einsum("bc,bc->b", deviations, deviations) / counts)
