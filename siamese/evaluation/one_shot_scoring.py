"""One-shot trials scored: by how often the most similar support image is the right one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.evaluation.clustered_rates import clustered_estimate, shares
from siamese.evaluation.intervals import Estimate
from siamese.evaluation.one_shot import OneShotTrials

Floats = NDArray[np.float64]
# Support embeddings held at a time, in numbers: 64 MiB of float32.
_BLOCK = 2**24
# As many as the alphabets that Lake et al. keep for evaluation.
FEWEST_GROUPS = 10


@dataclass(frozen=True)
class OneShotResult:
    """One-shot trials scored.

    Attributes:
        accuracy: mean credit of the trials, in [0, 1].
        trials: how many there are.
        ways: images to choose from in each.
        credit: of each trial, shape (T,): 1 / k when the right image is one of k that are the most similar, else 0.
        by_group: accuracy in each group, by its name.
        by_run: accuracy in each run over all groups, shape (R,).
    """

    accuracy: float
    trials: int
    ways: int
    credit: Floats
    by_group: Mapping[str, float]
    by_run: Floats


def score_one_shot(trials: OneShotTrials, embeddings: NDArray[Any]) -> OneShotResult:
    """Score trials by the similarity of unit embeddings (N, D), a row for each image of the table.

    Raises:
        DataError: fewer rows than the trials name, or embeddings of their images that are not finite.
    """
    needed = int(max(trials.test.max(), trials.support.max())) + 1
    if embeddings.ndim != 2 or len(embeddings) < needed:
        raise DataError(f"embeddings {embeddings.shape}: expected (N, D) with at least {needed} rows, one an image")
    similarity = np.empty(trials.support.shape)
    rows = max(1, _BLOCK // (trials.ways * max(1, embeddings.shape[1])))
    for start in range(0, len(trials.test), rows):
        part = slice(start, start + rows)
        tests, supports = embeddings[trials.test[part]], embeddings[trials.support[part]]
        similarity[part] = np.einsum("td,tnd->tn", tests, supports)
    return score_similarities(trials, similarity)


def score_similarities(trials: OneShotTrials, similarity: NDArray[Any]) -> OneShotResult:
    """Score trials by the similarity of each test with each of its support images, shape (T, N).

    Raises:
        DataError: another shape, or similarities that are not finite.
    """
    if similarity.shape != trials.support.shape:
        raise DataError(f"similarities {similarity.shape}: expected {trials.support.shape}, trials by ways")
    if not np.isfinite(similarity).all():
        bad = int(np.count_nonzero(~np.isfinite(similarity).all(axis=1)))
        raise DataError(f"{bad} of {len(similarity)} one-shot trials have similarities that are not finite numbers")
    first = similarity == similarity.max(axis=1, keepdims=True)
    right = np.take_along_axis(first, trials.answer[:, None], axis=1)[:, 0]
    credit = right / np.count_nonzero(first, axis=1)
    counts = np.bincount(trials.group, minlength=len(trials.groups))
    sums = np.bincount(trials.group, weights=credit, minlength=len(trials.groups))
    by_group = {
        name: float(total / count) for name, total, count in zip(trials.groups, sums, counts, strict=True) if count
    }
    by_run = np.bincount(trials.run, weights=credit) / np.bincount(trials.run)
    return OneShotResult(float(credit.mean()), len(credit), trials.ways, credit, by_group, by_run)


def estimate_accuracy(trials: OneShotTrials, result: OneShotResult) -> Estimate:
    """Accuracy with its interval over groups: runs of one group are of the same identities, so they are not counted.

    An interval needs ten groups (see `siamese.evaluation.clustered_rates`).
    """
    parts = shares(result.credit, trials.group, len(trials.groups))
    return clustered_estimate(result.accuracy, parts, fewest=FEWEST_GROUPS, what="groups")
