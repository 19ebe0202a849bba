"""One-shot trials with a verifier: N-way, within an alphabet, as Lake et al. define them for Omniglot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError
from siamese.evaluation.intervals import Estimate
from siamese.evaluation.one_shot import OneShotTrials, draw_one_shot
from siamese.evaluation.one_shot_scoring import OneShotResult, estimate_accuracy, score_similarities
from siamese.images.loader import Outcome
from siamese.inference.known_images import check_any_usable, drawers_of, groups_of, known_images
from siamese.inference.verifier import Verifier

WAYS, RUNS = 20, 2
# Numbers of embeddings that are compared at a time: 16 MiB of float32 a side.
_BLOCK = 2**22


@dataclass(frozen=True)
class OneShotEvaluation:
    """One-shot trials of a verifier.

    Attributes:
        result: what was right.
        accuracy: with its interval over groups.
        trials: what was asked; rows are those of `table`.
        similarity: of each test with each of its support images, shape (T, N).
        images: how many were given.
        embedded: how many the trials needed; each was embedded once.
        failed: how many of those could not be embedded, and are in no trial.
        identities: among the images given.
        grouped_by: where groups are from: a column of the manifest, `folders`, or None for a single group.
        drawers_from: where drawers are from: `drawer` (the column), `file names`, or None where they are not known.
        seed: of the trials.
        table: a row for each image: `path`, `identity`.
    """

    result: OneShotResult
    accuracy: Estimate
    trials: OneShotTrials
    similarity: NDArray[np.float64]
    images: int
    embedded: int
    failed: int
    identities: int
    grouped_by: str | None
    drawers_from: str | None
    seed: int
    table: pd.DataFrame

    @property
    def by_group(self) -> Mapping[str, float]:
        """Accuracy in each group, worst first; empty without groups."""
        if self.grouped_by is None:
            return {}
        return dict(sorted(self.result.by_group.items(), key=lambda item: (item[1], item[0])))

    @property
    def deviation(self) -> float | None:
        """Standard deviation (n - 1) of the runs' accuracies; None for a single run."""
        runs = self.result.by_run
        return float(np.std(runs, ddof=1)) if len(runs) > 1 else None

    def as_json(self) -> dict[str, Any]:
        """The counts and figures as plain values."""
        interval = self.accuracy.interval
        return {
            "images": self.images,
            "embedded": self.embedded,
            "failed": self.failed,
            "identities": self.identities,
            "ways": self.result.ways,
            "runs": len(self.result.by_run),
            "trials": self.result.trials,
            "seed": self.seed,
            "grouped_by": self.grouped_by,
            "drawers_from": self.drawers_from,
            "accuracy": self.result.accuracy,
            "intervals": {"accuracy": None if interval is None else [interval.low, interval.high]},
            "deviations": {"accuracy": self.deviation},
            "by_group": [{"group": name, "accuracy": value} for name, value in self.by_group.items()],
        }


def one_shot(
    verifier: Verifier,
    data: Path,
    *,
    ways: int | None = None,
    runs: int | None = None,
    seed: int = 0,
    identity_depth: int = 1,
) -> OneShotEvaluation:
    """Ask which of N images shows the identity of a test image, after one look at each.

    The N are of one group: of a manifest's column `group` or `alphabet`; with an identity depth of 2 or more, of the
    first folder of the identity (Omniglot's alphabet); else all images are one group. Support and tests are by two
    drawers where drawers are known: from a manifest's column `drawer`, or from file names as Omniglot has them.

    Only the images of trials are embedded. Where one of them cannot be, trials are drawn again without it.

    Args:
        verifier: the model.
        data: folder of identities, or manifest.
        ways: images to choose from, 2 or more; None for 20.
        runs: in each group, 1 or more; None for 2. Each gives `ways` trials.
        seed: of the trials.
        identity_depth: levels of folders that name an identity.

    Raises:
        OptionError: an option out of its range.
        DataError: no images or identities, too few of them in a group, or no image that can be embedded.
    """
    ways, runs = WAYS if ways is None else ways, RUNS if runs is None else runs
    for option, value, least in (("--ways", ways, 2), ("--runs", runs, 1)):
        if value < least:
            raise OptionError(f"{option} {value}: expected {least} or more")
    table = known_images(data, identity_depth=identity_depth)
    groups, grouped_by = groups_of(table, identity_depth)
    drawers, drawers_from = drawers_of(table)
    pool = _Pool(verifier, table, data)
    trials = None
    while trials is None or pool.embed(np.union1d(trials.test, trials.support.ravel())):
        trials = _drawn(data, table["identity"], [groups, drawers], pool.usable, (ways, runs, seed))
    pool.report()
    similarity = _compared(verifier, pool.vectors, trials)
    result = score_similarities(trials, similarity)
    return OneShotEvaluation(
        result=result,
        accuracy=estimate_accuracy(trials, result),
        trials=trials,
        similarity=similarity,
        images=len(table),
        embedded=int(pool.embedded.sum()),
        failed=len(pool.failures),
        identities=int(table["identity"].nunique()),
        grouped_by=grouped_by,
        drawers_from=drawers_from,
        seed=seed,
        table=table[["path", "identity"]],
    )


def write_trials(evaluation: OneShotEvaluation, path: Path) -> None:
    """Write a row per trial as CSV.

    Columns: `group`, `run` (from 1), `path` of the test, its `identity`, `right` (the support image of that identity)
    with `right_similarity`, `best` (the most similar one; of equal ones the first) with `similarity`, `credit`.
    """
    trials, similarity = evaluation.trials, evaluation.similarity
    paths = evaluation.table["path"].to_numpy(dtype=object)
    rows, best = np.arange(len(trials.test)), similarity.argmax(axis=1)
    table = pd.DataFrame(
        {
            "group": np.asarray(trials.groups, dtype=object)[trials.group],
            "run": trials.run + 1,
            "path": paths[trials.test],
            "identity": evaluation.table["identity"].to_numpy(dtype=object)[trials.test],
            "right": paths[trials.support[rows, trials.answer]],
            "right_similarity": similarity[rows, trials.answer],
            "best": paths[trials.support[rows, best]],
            "similarity": similarity[rows, best],
            "credit": evaluation.result.credit,
        }
    )
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.9g")


class _Pool:
    """Embeddings of the rows of a table, made when they are asked for."""

    def __init__(self, verifier: Verifier, table: pd.DataFrame, data: Path) -> None:
        self.vectors = np.zeros((len(table), verifier.embedding_dim), np.float32)
        self.embedded, self.usable = np.zeros(len(table), dtype=bool), np.ones(len(table), dtype=bool)
        self.failures: list[tuple[str, Outcome]] = []
        self._verifier, self._table, self._data = verifier, table, data

    def embed(self, rows: NDArray[np.int64]) -> bool:
        """Embed those rows that are not yet embedded; whether any could not be, and is usable no more."""
        rows = rows[~self.embedded[rows]]
        found = self._verifier.embed([Path(file) for file in self._table["file"].iloc[rows]])
        self.vectors[rows], self.embedded[rows], self.usable[rows] = found.vectors, True, found.usable
        pairs = zip(self._table["path"].iloc[rows], found.outcomes, strict=True)
        self.failures += [(path, outcome) for path, outcome in pairs if outcome.status != "ok"]
        if not (self.embedded & self.usable).any():
            self.report()
        return not found.usable.all()

    def report(self) -> None:
        """Warn of the rows that could not be embedded; an error where all that were tried could not."""
        check_any_usable(self._data, self.failures, int(self.embedded.sum()))


def _drawn(
    data: Path,
    identities: "pd.Series[str]",
    sides: list[NDArray[Any] | None],
    usable: NDArray[np.bool_],
    counts: tuple[int, int, int],
) -> OneShotTrials:
    """Trials over the usable rows of a table, as rows of the whole table."""
    kept, (ways, runs, seed) = np.flatnonzero(usable), counts
    groups, drawers = (None if each is None else each[kept] for each in sides)
    names = identities.to_numpy(dtype=object)[kept]
    try:
        drawn = draw_one_shot(names, groups=groups, drawers=drawers, ways=ways, runs=runs, seed=seed)
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    return replace(drawn, test=kept[drawn.test], support=kept[drawn.support])


def _compared(verifier: Verifier, vectors: NDArray[np.float32], trials: OneShotTrials) -> NDArray[np.float64]:
    """Similarity of each test with each of its support images, as the verifier compares a pair; shape (T, N)."""
    similarity = np.empty(trials.support.shape)
    rows = max(1, _BLOCK // (trials.ways * max(1, vectors.shape[1])))
    for start in range(0, len(trials.test), rows):
        part = slice(start, start + rows)
        tests = vectors[np.repeat(trials.test[part], trials.ways)]
        found = verifier.similarity(tests, vectors[trials.support[part].ravel()])
        similarity[part] = found.reshape(-1, trials.ways)
    return similarity
