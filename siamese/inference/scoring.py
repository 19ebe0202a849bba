"""Scoring a pair table: each unique image embedded once, failures kept apart from scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import ModelError
from siamese.images.alignment import failed_alignments
from siamese.images.loader import Outcome
from siamese.inference.verifier import Verifier
from siamese.model.embeddings import Embeddings
from siamese.pairing.table import check_files_exist, present, unique_images

# Pairs compared at a time: of each, two embeddings are held.
BLOCK = 65_536


@dataclass(frozen=True)
class PairScores:
    """Similarities of a pair table.

    Attributes:
        frame: the pair table.
        scores: shape (N,), NaN where an image of the pair could not be embedded.
        images: the unique images.
        outcomes: of each image.
        left: row of `vectors` of each pair's left image, shape (N,); -1 for an image that was not read.
        right: of its right image.
        vectors: embeddings, in the order of `images` and without those at its end that were not read, zero where
            reading failed, shape (M, D); None for scores of several models together.
    """

    frame: pd.DataFrame
    scores: NDArray[np.float64]
    images: list[str]
    outcomes: list[Outcome]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    vectors: NDArray[np.float32] | None

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which pairs have a score, shape (N,)."""
        return np.isfinite(self.scores)

    @property
    def failures(self) -> list[tuple[str, Outcome]]:
        """Images that could not be embedded."""
        together = zip(self.images, self.outcomes, strict=True)
        return [(image, outcome) for image, outcome in together if outcome.status != "ok"]


def score_pairs(
    verifier: Verifier, frame: pd.DataFrame, root: Path, where: str, *, missing: Literal["error", "fail"] = "error"
) -> PairScores:
    """Score every pair of a table.

    An image that `siamese align` recorded as failed in the root's report counts as that failure, and so does one of
    which the model makes no numbers. Memory holds the embeddings of the unique images and those of a block of pairs.

    Args:
        verifier: embeds the images and compares the embeddings.
        frame: pair table.
        root: what its paths are relative to.
        where: name of the table, for messages.
        missing: what a path that names no file is: an `error`, or one more image that cannot be read (`fail`). Where
            not one is there it is an error either way: the root is wrong.

    Raises:
        PairFileError: a row names a file that is not there.
        ModelError: the model makes no numbers of any image.
    """
    every = unique_images(frame)
    failed = failed_alignments(root)
    images = [image for image in every if image not in failed]
    if missing == "error" or not present(root, np.asarray(images, dtype=object)).any():
        known = frame["left"].isin(failed) | frame["right"].isin(failed) if failed else np.zeros(len(frame), bool)
        check_files_exist(frame[~known], root, where)
    embeddings = _numbers_only(verifier.embed([root / image for image in images]), verifier.name)
    vectors = embeddings.vectors
    usable = np.append(embeddings.usable, False)
    lookup = pd.Index(images)
    left, right = (lookup.get_indexer(pd.Index(frame[column])) for column in ("left", "right"))  # -1: the failed
    scores = np.full(len(frame), np.nan)
    rows = np.flatnonzero(usable[left] & usable[right])
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        scores[block] = verifier.similarity(vectors[left[block]], vectors[right[block]])
    lost = [image for image in every if image in failed]
    return PairScores(
        frame,
        scores,
        images + lost,
        embeddings.outcomes + [Outcome("no_face", failed[image], faces=0) for image in lost],
        left,
        right,
        vectors,
    )


def _numbers_only(embeddings: Embeddings, name: str) -> Embeddings:
    """The embeddings, with those that are no numbers zero and marked as failed."""
    finite = np.asarray(np.isfinite(embeddings.vectors).all(axis=1))
    if finite.all():
        return embeddings
    if not (finite & embeddings.usable).any():
        raise ModelError(f"{name}: makes no numbers of any image, its weights are damaged; fetch or train it again")
    outcomes = list(embeddings.outcomes)
    for row in np.flatnonzero(~finite):
        outcomes[row] = Outcome("unreadable", "the model makes no numbers of it")
    return Embeddings(np.where(finite[:, None], embeddings.vectors, np.float32(0)), outcomes)
