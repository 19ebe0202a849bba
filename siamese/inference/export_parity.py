"""Whether an export decides as the network on torch does: what was measured, and what is allowed."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.evaluation.curves import Curve
from siamese.evaluation.metrics import FARS
from siamese.evaluation.thresholds import smoothed_accuracy_threshold
from siamese.inference.export_samples import Samples
from siamese.inference.runtime import Runtime

# Share of the decisions that may flip: in float32 those alone that lie within rounding of the threshold.
FLOAT32_TOLERANCE = 1 / 5000
BF16_TOLERANCE = 1 / 500
INT8_TOLERANCE = 1 / 100
# A share is shown to be kept only by pairs enough to expect three flips at it (the rule of three).
EXPECTED_FLIPS = 3
# In float32 the cosine moves by rounding alone; a pair head may be steep.
SIMILARITY_LIMIT, STEEP_LIMIT = 1e-4, 1e-3
# Images whose probabilities over all identities are compared at a time.
GROUP = 1024
# Pairs compared at a time.
BLOCK = 65_536
ROUNDING = 1e-9


@dataclass(frozen=True)
class Parity:
    """An export at one precision against float32 on torch, on the same pixels.

    Attributes:
        precision: `f32`, `bf16` or `int8`.
        samples: where the images are from, in words.
        images: how many were embedded.
        failed: how many could not be read, or showed no face where one was needed.
        pairs: how many were compared.
        embedding_max: largest Euclidean distance between the two embeddings of an image, in [0, 2].
        embedding_mean: its mean.
        similarity_max: largest difference between the two similarities of a pair.
        threshold: where decisions were compared; None where there is nothing to decide by.
        threshold_of: what the threshold is, in words.
        flipped: decisions that differ; None without a threshold.
        allowed: how many may differ; None without a threshold.
        tolerance: share of the decisions that may differ.
        identities: how many the identity head knows; 0 without one.
        probability_max: largest difference between the two probabilities of an identity; None without such a head.
        top1_changed: images whose most probable identity is another one; None without such a head.
        top1_allowed: how many of them may be, below float32; None without such a head.
        tar: by FAR, the TAR on torch and that of the export, each at its own threshold for the FAR; only FARs that
            the labelled pairs support.
        passed: whether the export may stand in for the network at this precision.
        reason: why not, in words; empty where it may.
    """

    precision: str
    samples: str
    images: int
    failed: int
    pairs: int
    embedding_max: float
    embedding_mean: float
    similarity_max: float
    threshold: float | None
    threshold_of: str
    flipped: int | None
    allowed: int | None
    tolerance: float
    identities: int
    probability_max: float | None
    top1_changed: int | None
    top1_allowed: int | None
    tar: dict[str, tuple[float, float]]
    passed: bool
    reason: str

    def plain(self) -> dict[str, Any]:
        """All of it in values that JSON holds."""
        return {**asdict(self), "tar": {far: list(both) for far, both in self.tar.items()}}


@dataclass(frozen=True)
class Reference:
    """The network on torch, on the samples.

    Attributes:
        runtime: what embedded them.
        samples: the images and pairs.
        vectors: embeddings, shape (M, D).
        usable: which images have one, shape (M,).
        scores: similarities of the pairs whose two images have one, shape (K,).
        rows: those pairs, shape (K,).
        threshold: of the model's operating point, else fitted on these pairs; None where neither can be.
        threshold_of: what it is, in words.
        pair_head: whether a pair head compares.
    """

    runtime: Runtime
    samples: Samples
    vectors: NDArray[np.float32]
    usable: NDArray[np.bool_]
    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    threshold: float | None
    threshold_of: str
    pair_head: bool

    @property
    def same(self) -> NDArray[np.bool_] | None:
        """Labels of the pairs that have a score, of both kinds; None where there are none, or of one kind only."""
        same = None if self.samples.same is None else self.samples.same[self.rows]
        return None if same is None or same.all() or not same.any() else same


def take_reference(
    runtime: Runtime,
    samples: Samples,
    vectors: NDArray[np.float32],
    usable: NDArray[np.bool_],
    *,
    threshold: float | None,
    pair_head: bool,
) -> Reference:
    """What exports are held against.

    Args:
        runtime: the network on torch.
        samples: the images and pairs.
        vectors: its embeddings of the images, shape (M, D).
        usable: which images have one, shape (M,).
        threshold: of the model's operating point of best accuracy; None for an untouched encoder.
        pair_head: whether the network compares by a pair head.
    """
    rows = np.flatnonzero(usable[samples.left] & usable[samples.right])
    scores = _scores(runtime, samples, rows, vectors)
    known = (runtime, samples, vectors, usable, scores, rows)
    found = Reference(*known, threshold, "operating point accuracy", pair_head)
    if threshold is not None and samples.images is not None:
        return found
    fitted = None if found.same is None else smoothed_accuracy_threshold(scores, found.same)
    origin = "none" if fitted is None else "best accuracy on these pairs"
    return Reference(*known, fitted, origin, pair_head)


def check_parity(reference: Reference, runtime: Runtime, vectors: NDArray[np.float32], tolerance: float) -> Parity:
    """Hold an export against the network on torch.

    Args:
        reference: the network on torch.
        runtime: the export.
        vectors: its embeddings of the images, shape (M, D).
        tolerance: share of the decisions that may flip, in [0, 1].
    """
    usable, scores = reference.usable, reference.scores
    apart = np.linalg.norm(vectors[usable].astype(np.float64) - reference.vectors[usable], axis=1)
    found = _scores(runtime, reference.samples, reference.rows, vectors)
    flipped = allowed = None
    if reference.threshold is not None:
        flipped = int(np.count_nonzero((scores >= reference.threshold) != (found >= reference.threshold)))
        allowed = int(tolerance * len(scores) + ROUNDING)
    moved = float(np.abs(found - scores).max(initial=0.0))
    figures: dict[str, Any] = {
        "precision": runtime.precision,
        "samples": reference.samples.name,
        "images": int(np.count_nonzero(usable)),
        "failed": int(np.count_nonzero(~usable)),
        "pairs": len(scores),
        "embedding_max": float(apart.max(initial=0.0)),
        "embedding_mean": float(apart.mean()) if len(apart) else 0.0,
        "similarity_max": moved,
        "threshold": reference.threshold,
        "threshold_of": reference.threshold_of,
        "flipped": flipped,
        "allowed": allowed,
        "tolerance": tolerance,
        **_identity_figures(reference, runtime, vectors, tolerance),
        "tar": _rates(reference, found),
    }
    reason = _why_not(reference, figures)
    return Parity(**figures, passed=not reason, reason=reason)


def _scores(
    runtime: Runtime, samples: Samples, rows: NDArray[np.int64], vectors: NDArray[np.float32]
) -> NDArray[np.float64]:
    scores = np.zeros(len(rows))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        sides = vectors[samples.left[block]], vectors[samples.right[block]]
        scores[start : start + BLOCK] = runtime.similarity(*sides)
    return scores


def _identity_figures(
    reference: Reference, runtime: Runtime, vectors: NDArray[np.float32], tolerance: float
) -> dict[str, Any]:
    """How far the probabilities of identities are from those on torch, each by its own embeddings."""
    names = ("probability_max", "top1_changed", "top1_allowed")
    if not reference.runtime.identities:
        return {"identities": 0, **dict.fromkeys(names)}
    rows, moved, changed = np.flatnonzero(reference.usable), 0.0, 0
    for start in range(0, len(rows), GROUP):
        group = rows[start : start + GROUP]
        before = reference.runtime.identity_probabilities(reference.vectors[group])
        after = runtime.identity_probabilities(vectors[group])
        # NaN stays NaN: a maximum of Python's own would pass over it.
        moved = float(np.maximum(moved, np.abs(after - before).max(initial=0.0)))
        changed += int(np.count_nonzero(before.argmax(axis=1) != after.argmax(axis=1)))
    figures = (moved, changed, int(tolerance * len(rows) + ROUNDING))
    return {"identities": reference.runtime.identities, **dict(zip(names, figures, strict=True))}


def _rates(reference: Reference, scores: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    same = reference.same
    if same is None or not np.isfinite(scores).all():
        return {}
    before, after = Curve.of(reference.scores, same), Curve.of(scores, same)
    pairs = {f"{far:g}": (before.tar_at_far(far), after.tar_at_far(far)) for far in FARS}
    return {far: (one, other) for far, (one, other) in pairs.items() if one is not None and other is not None}


def _why_not(reference: Reference, figures: dict[str, Any]) -> str:
    """Why an export with these figures may not stand in for the network; empty where it may."""
    moved, pairs, flipped = figures["similarity_max"], figures["pairs"], figures["flipped"]
    if not figures["images"]:
        return "no image could be embedded"
    if not (np.isfinite(moved) and np.isfinite(figures["embedding_max"])):
        return "it gives no numbers"
    if flipped is not None and flipped > figures["allowed"]:
        share = f"1 in {1 / figures['tolerance']:,.0f}" if figures["tolerance"] else "none"
        threshold = f"threshold {reference.threshold:.4f} ({reference.threshold_of})"
        return f"{flipped:,} of {pairs:,} decisions flip at {threshold}, {figures['allowed']:,} may ({share})"
    if reason := _why_not_identities(figures):
        return reason
    if figures["precision"] == "f32":
        limit = STEEP_LIMIT if reference.pair_head else SIMILARITY_LIMIT
        return "" if moved <= limit else f"similarities move by up to {moved:.2g}, {limit:g} may be"
    if flipped is None:
        return "nothing to compare decisions on: give labelled --pairs"
    if figures["precision"] == "bf16" and pairs * figures["tolerance"] + ROUNDING < EXPECTED_FLIPS:
        needed = round(EXPECTED_FLIPS / figures["tolerance"])
        return f"{pairs:,} pairs are too few to show it, {needed:,} are enough"
    return ""


def _why_not_identities(figures: dict[str, Any]) -> str:
    """Why the identities that it names may not stand in for those of the network; empty where they may."""
    moved, changed, images = figures["probability_max"], figures["top1_changed"], figures["images"]
    if moved is None:
        return ""
    if not np.isfinite(moved):
        return "it gives no numbers for identities"
    # In float32 another identity comes first only where two are alike to within rounding.
    if figures["precision"] == "f32":
        limit = f"{STEEP_LIMIT:g} may be"
        return "" if moved <= STEEP_LIMIT else f"probabilities of identities move by up to {moved:.2g}, {limit}"
    if changed > figures["top1_allowed"]:
        return f"the identity of {changed:,} of {images:,} images changes, that of {figures['top1_allowed']:,} may"
    return ""
