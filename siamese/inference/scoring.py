"""Scoring a pair table: each unique image embedded once, failures kept apart from scores."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.images.alignment import failed_alignments
from siamese.images.loader import Outcome
from siamese.inference.verifier import Verifier
from siamese.pairing.table import check_files_exist, unique_images


@dataclass(frozen=True)
class PairScores:
    """Similarities of a pair table.

    Attributes:
        frame: the pair table.
        scores: shape (N,), NaN where an image of the pair could not be embedded.
        images: the unique images.
        outcomes: of each image.
    """

    frame: pd.DataFrame
    scores: NDArray[np.float64]
    images: list[str]
    outcomes: list[Outcome]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which pairs have a score, shape (N,)."""
        return np.isfinite(self.scores)

    @property
    def failures(self) -> list[tuple[str, Outcome]]:
        """Images that could not be embedded."""
        together = zip(self.images, self.outcomes, strict=True)
        return [(image, outcome) for image, outcome in together if outcome.status != "ok"]


def score_pairs(verifier: Verifier, frame: pd.DataFrame, root: Path, where: str) -> PairScores:
    """Score every pair of a table.

    An image that `siamese align` recorded as failed in the root's report counts as that failure; any other path
    that names no file is an error.

    Args:
        verifier: embeds the images and compares the embeddings.
        frame: pair table.
        root: what its paths are relative to.
        where: name of the table, for messages.

    Raises:
        PairFileError: a row names a file that is not there.
    """
    images = unique_images(frame)
    failed = failed_alignments(root)
    present = frame
    if failed:
        named = frame["left"].isin(failed) | frame["right"].isin(failed)
        present = frame[~named]
        # Of a pair with one failed side, the other side must still be a file.
        images = [image for image in images if image not in failed]
    check_files_exist(present, root, where)
    embeddings = verifier.embed([root / image for image in images])
    vectors = np.vstack([embeddings.vectors, np.zeros((1, verifier.network.embedding_dim), np.float32)])
    usable = np.append(embeddings.usable, False)
    lookup = pd.Index(images)
    left, right = (lookup.get_indexer(pd.Index(frame[column])) for column in ("left", "right"))  # -1: the failed
    scores = np.full(len(frame), np.nan)
    both = usable[left] & usable[right]
    scores[both] = verifier.similarity(vectors[left[both]], vectors[right[both]])
    missing = [image for image in unique_images(frame) if image in failed]
    return PairScores(
        frame,
        scores,
        images + missing,
        embeddings.outcomes + [Outcome("no_face", failed[image], faces=0) for image in missing],
    )
