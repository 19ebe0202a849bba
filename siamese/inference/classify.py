"""Naming the identity that each image shows, by the identity head of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from siamese.errors import OptionError
from siamese.evaluation.identification import ranks
from siamese.images.loader import Outcome
from siamese.inference.classify_output import check_submission
from siamese.inference.embed_part import NO_NUMBERS
from siamese.inference.image_source import list_images
from siamese.inference.verifier import Verifier
from siamese.pairing.arrow_columns import equals

if TYPE_CHECKING:
    from siamese.inference.submission_form import SubmissionForm

# Images to a group: their probabilities over all identities are held in memory at a time.
GROUP = 4096


@dataclass(frozen=True)
class Classification:
    """The identities that a model sees.

    Attributes:
        table: a row per image in the order given: text `path`; text `identity` and double `probability` of the most
            probable identity, then `identity_2`, `probability_2` and so on; text `status` (`ok`, `no_face`,
            `unreadable`) and `detail`; text `true_identity` where the data name any. Null where the status is not
            `ok`.
        identities: how many the head knows.
        judged: images with a status of `ok` and a true identity that the head knows.
        unknown: images whose true identity the head does not know.
        top1: share of the judged whose true identity is the most probable one; None where nothing was judged.
        top5: share of the judged whose true identity is among the five most probable ones.
    """

    table: pa.Table
    identities: int
    judged: int
    unknown: int
    top1: float | None
    top5: float | None

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self.table.num_rows)

    @property
    def failed(self) -> int:
        """How many of them could not be classified."""
        return int(compute.sum(compute.invert(equals(self.table["status"], "ok")), min_count=0).as_py())


def classify(
    verifier: Verifier,
    data: Sequence[Path],
    *,
    top: int = 5,
    identity_depth: int = 1,
    form: "SubmissionForm | None" = None,
) -> Classification:
    """Classify the images of files, folders or manifests.

    Probabilities are among the identities that the head knows: an image of anybody else is given to one of them.

    Args:
        verifier: a model with an identity head.
        data: image files, folders of any depth, or manifests.
        top: identities to name for each image, at most all.
        identity_depth: levels of folders that name an identity.
        form: a submission that is to be written: looked through before any image is embedded.

    Raises:
        OptionError: the model has no identity head, or `top` is below 1.
        DataError: no images; images or identities that have no place in the submission.
        ImageError: an image file that is not there.
    """
    if top < 1:
        raise OptionError(f"--top {top}: expected 1 or more")
    labels = _labels(verifier)
    images = list_images(data, identity_depth=identity_depth)
    top = min(top, len(labels))
    if form is not None:
        check_submission(images["path"].to_pylist(), labels, form, places=top)
    true = _numbers(images["identity"], labels)
    chosen = np.full((images.num_rows, top), -1)
    shares = np.full(chosen.shape, np.nan)
    places = np.full(images.num_rows, -1)
    outcomes: list[Outcome] = []
    for start in range(0, images.num_rows, GROUP):
        vectors, done = _embed(verifier, images["file"].slice(start, GROUP).to_pylist())
        usable = np.array([outcome.status == "ok" for outcome in done], dtype=bool)
        rows = start + np.flatnonzero(usable)
        probabilities = verifier.identity_probabilities(vectors[usable])
        chosen[rows] = most_probable(probabilities, top)
        shares[rows] = np.take_along_axis(probabilities, chosen[rows], axis=1)
        known = true[rows] >= 0
        places[rows[known]] = ranks(probabilities[known], true[rows[known]])
        outcomes += done
    table = _table(images, labels, chosen, shares, outcomes)
    unknown = int(np.count_nonzero(true < 0)) - images["identity"].null_count
    judged = places[places >= 0]
    top1, top5 = (float((judged < k).mean()) if len(judged) else None for k in (1, 5))
    return Classification(table, len(labels), len(judged), unknown, top1, top5)


def most_probable(probabilities: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """The most probable identities of each image, the most probable first; of equal ones the first goes first.

    Args:
        probabilities: shape (N, C), none of them negative or NaN.
        top: from 1 to C.

    Returns:
        Shape (N, top), from 0 to C - 1.

    Example:
        >>> most_probable(np.array([[0.1, 0.45, 0.45]], np.float32), 2).tolist()
        [[1, 2]]
    """
    last = probabilities.shape[1] - 1
    # Numbers that are not negative are in the order of their bits: below these, the place settles what is equal, and
    # only the top few have to be sorted.
    bits = np.ascontiguousarray(probabilities, np.float32).view(np.uint32).astype(np.uint64)
    keys = bits << np.uint64(32) | np.arange(last, -1, -1, dtype=np.uint64)
    best = np.sort(np.partition(keys, last + 1 - top, axis=1)[:, last + 1 - top :], axis=1)[:, ::-1]
    return np.asarray(last - (best & np.uint64(0xFFFFFFFF)).astype(np.int64))


def _labels(verifier: Verifier) -> tuple[str, ...]:
    """The identities that the model knows, in the order of its probabilities."""
    labels = verifier.identities
    if not labels:
        raise OptionError(
            f"--model {verifier.name}: has no identity head; train one with "
            "`siamese train DATA --loss arcface -o DIR`"
        )
    if not verifier.runtime.identities:
        raise OptionError(
            f"--model {verifier.name}: its export was made by an earlier version, which left the identity head out; "
            "run `siamese export` on the model again, or add --runtime torch"
        )
    return labels


def _numbers(identities: pa.ChunkedArray, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Which of the labels each identity is, shape (N,); -1 where it is none of them, or not known."""
    numbers = compute.index_in(identities.combine_chunks(), value_set=pa.array(labels, pa.string()))
    # `to_numpy` would import pandas.
    return np.from_dlpack(numbers.fill_null(-1)).astype(np.int64)


def _embed(verifier: Verifier, files: list[str]) -> tuple[NDArray[np.float32], list[Outcome]]:
    embeddings = verifier.embed([Path(file) for file in files])
    finite = np.asarray(np.isfinite(embeddings.vectors).all(axis=1))
    outcomes = [
        outcome if good else Outcome("unreadable", NO_NUMBERS)
        for outcome, good in zip(embeddings.outcomes, finite, strict=True)
    ]
    return embeddings.vectors, outcomes


def _table(
    images: pa.Table,
    labels: tuple[str, ...],
    chosen: NDArray[np.int64],
    shares: NDArray[np.float64],
    outcomes: list[Outcome],
) -> pa.Table:
    names, missing = pa.array(labels, pa.string()), chosen < 0
    columns = {"path": images["path"]}
    for place in range(chosen.shape[1]):
        suffix = f"_{place + 1}" if place else ""
        columns[f"identity{suffix}"] = names.take(pa.array(chosen[:, place], mask=missing[:, place]))
        columns[f"probability{suffix}"] = pa.array(shares[:, place], pa.float64(), mask=missing[:, place])
    columns["status"] = pa.array([outcome.status for outcome in outcomes], pa.string())
    columns["detail"] = pa.array([outcome.detail for outcome in outcomes], pa.string())
    if images["identity"].null_count < images.num_rows:
        columns["true_identity"] = images["identity"]
    return pa.table(columns)
