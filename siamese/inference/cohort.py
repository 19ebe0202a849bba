"""A cohort of other people, against which the similarities of a pair file are measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError, unknown_name
from siamese.evaluation.score_normalisation import METHODS, Method, cohort_statistics, normalise_scores
from siamese.inference.image_source import list_images
from siamese.inference.scoring import PairScores
from siamese.inference.verifier import Verifier
from siamese.progress import log


@dataclass(frozen=True)
class Cohort:
    """Which images, and what is done with them.

    Attributes:
        data: folder of images or manifest.
        method: `z` measures against the left image's similarities with the cohort, `t` against the right one's, `s`
            against both.
        top: only the most similar ones of the cohort, this many for each image; None for all.
        identity_depth: levels of folders that name an identity.
    """

    data: Path
    method: Method = "s"
    top: int | None = None
    identity_depth: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("--normalise", self.method, METHODS)
        if self.top is not None and self.top < 2:
            raise OptionError(f"--cohort-top {self.top}: a deviation needs two at least")


@dataclass(frozen=True, eq=False)
class EmbeddedCohort:
    """A cohort as one model sees it.

    Attributes:
        cohort: which images.
        vectors: of those that could be embedded, shape (C, D).
        identities: of those, shape (C,); None unless all are known.
    """

    cohort: Cohort
    vectors: NDArray[np.float32]
    identities: NDArray[Any] | None

    def normalise(self, scored: PairScores) -> PairScores:
        """The same pairs with normalised scores, which have no bounds.

        Where both the pair file and the cohort name identities, nobody is measured against themselves.

        Raises:
            OptionError: `top` is larger than the cohort.
            DataError: an image is left with fewer than two of the cohort.
        """
        kept, vectors = scored.scored, scored.vectors
        if vectors is None:
            raise ValueError("scores of several models together have no embeddings to measure against a cohort")
        if not kept.any():
            return scored
        used, rows = np.unique(np.concatenate([scored.left[kept], scored.right[kept]]), return_inverse=True)
        names = _identities_of(scored, len(vectors))
        known = names is not None and self.identities is not None
        statistics = cohort_statistics(
            vectors[used],
            self.vectors,
            identities=names[used] if names is not None and known else None,
            cohort_identities=self.identities if known else None,
            top=self.cohort.top,
        )
        left, right = (statistics.of(side) for side in rows.reshape(2, -1))
        scores = np.full(len(scored.scores), np.nan)
        scores[kept] = normalise_scores(scored.scores[kept], left, right, self.cohort.method)
        return replace(scored, scores=scores)

    def as_json(self) -> dict[str, Any]:
        """What is recorded with a result."""
        asked = self.cohort
        return {"data": str(asked.data), "images": len(self.vectors), "method": asked.method, "top": asked.top}


def embed_cohort(verifier: Verifier, cohort: Cohort) -> EmbeddedCohort:
    """Embed a cohort, each image once.

    Raises:
        OptionError: the model scores pairs by a pair head, whose scores are no cosines.
        DataError: fewer than two images that can be embedded.
    """
    if verifier.pair_head:
        raise OptionError(f"--cohort: {verifier.name} compares by a pair head, and a cohort is measured by cosines")
    images = list_images([cohort.data], identity_depth=cohort.identity_depth)
    embeddings = verifier.embed([Path(file) for file in images["file"].to_pylist()])
    usable = embeddings.usable
    if usable.sum() < 2:
        raise DataError(
            f"{cohort.data}: {usable.sum()} of {len(images)} images could be embedded; a cohort needs two"
        )
    if not usable.all():
        log.warning("%s: %d of %d images could not be embedded", cohort.data, int((~usable).sum()), len(images))
    identities = np.array(images["identity"].to_pylist(), dtype=object)[usable].tolist()
    return EmbeddedCohort(
        cohort, embeddings.vectors[usable], None if None in identities else np.array(identities, dtype=str)
    )


def _identities_of(scored: PairScores, images: int) -> NDArray[Any] | None:
    """The identity of each image, shape (images,); None where the table does not name those of the scored pairs."""
    sides: Sequence[tuple[str, NDArray[np.int64]]] = (
        ("left_identity", scored.left),
        ("right_identity", scored.right),
    )
    if not {name for name, _ in sides} <= set(scored.frame.columns):
        return None
    names = pd.Series(index=range(images), dtype=object)
    for column, rows in sides:
        names.iloc[rows[rows >= 0]] = scored.frame[column].to_numpy(dtype=object)[rows >= 0]
    shown = np.unique(np.concatenate([rows[scored.scored] for _, rows in sides]))
    return None if names.iloc[shown].isna().any() else names.astype(str).to_numpy(dtype=str)
