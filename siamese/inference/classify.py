"""Naming the identity that each image shows, by the identity head of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError
from siamese.evaluation.identification import ranks
from siamese.heads.identity import IdentityHead
from siamese.images.loader import Outcome
from siamese.inference import submission
from siamese.inference.image_source import list_images
from siamese.inference.output_file import check_output
from siamese.inference.submission_form import SubmissionForm
from siamese.inference.submission_ids import image_ids
from siamese.inference.verifier import Verifier
from siamese.progress import log

# Images to a group: their logits over all identities are held in memory at a time.
GROUP = 4096


@dataclass(frozen=True)
class Classification:
    """The identities that a model sees.

    Attributes:
        table: a row per image in the order given: `path`; `identity` and `probability` of the most probable
            identity, then `identity_2`, `probability_2` and so on; `status` (`ok`, `no_face`, `unreadable`) and
            `detail`; `true_identity` where the data name any. Missing where the status is not `ok`.
        identities: how many the head knows.
        judged: images with a status of `ok` and a true identity that the head knows.
        unknown: images whose true identity the head does not know.
        top1: share of the judged whose true identity is the most probable one; None where nothing was judged.
        top5: share of the judged whose true identity is among the five most probable ones.
    """

    table: pd.DataFrame
    identities: int
    judged: int
    unknown: int
    top1: float | None
    top5: float | None

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.table)

    @property
    def failed(self) -> int:
        """How many of them could not be classified."""
        return int((self.table["status"] != "ok").sum())


def classify(
    verifier: Verifier,
    data: Sequence[Path],
    *,
    top: int = 5,
    identity_depth: int = 1,
    form: SubmissionForm | None = None,
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
    head, labels = _head(verifier)
    images = list_images(data, identity_depth=identity_depth)
    if form is not None:
        _check_submission(images["path"], labels, form, places=min(top, len(labels)))
    true = pd.Index(labels).get_indexer(pd.Index(images["identity"]))  # -1: not known
    chosen = np.full((len(images), min(top, len(labels))), -1)
    shares = np.full(chosen.shape, np.nan)
    places = np.full(len(images), -1)
    outcomes: list[Outcome] = []
    for start in range(0, len(images), GROUP):
        embeddings = verifier.embed([Path(file) for file in images["file"].iloc[start : start + GROUP]])
        rows = start + np.flatnonzero(embeddings.usable)
        probabilities, order = _probabilities(head, embeddings.vectors[embeddings.usable], verifier.device)
        chosen[rows] = order[:, : chosen.shape[1]]
        shares[rows] = np.take_along_axis(probabilities, chosen[rows], axis=1)
        known = true[rows] >= 0
        places[rows[known]] = ranks(probabilities[known], true[rows[known]])
        outcomes += embeddings.outcomes
    table = _table(images, labels, chosen, shares, outcomes)
    unknown = int((images["identity"].notna().to_numpy() & (true < 0)).sum())
    judged = places[places >= 0]
    top1, top5 = (float((judged < k).mean()) if len(judged) else None for k in (1, 5))
    return Classification(table, len(labels), len(judged), unknown, top1, top5)


def write_classification(classification: Classification, output: Path) -> None:
    """Write the table as CSV (UTF-8, probabilities with six decimals) or Parquet, by the suffix."""
    check_output(output)
    table = classification.table
    with atomic_path(output) as temporary:
        if output.suffix.lower() == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6f")


def write_submission(classification: Classification, output: Path, form: SubmissionForm) -> None:
    """Write a competition's form: what it calls each image, and the most probable identities between blanks.

    An image that could not be classified has an empty second cell, and is warned of.

    Raises:
        DataError: images have one name, or are not those of the sample; a label among several holds a blank.
    """
    table = classification.table
    words = [name for name in table.columns if name == "identity" or name.startswith("identity_")]
    cells = table[words].fillna("").astype(str)
    _check_submission(table["path"], pd.unique(cells.to_numpy().reshape(-1)).tolist(), form, places=len(words))
    if classification.failed:
        log.warning("%d of %d images have no identity in the submission", classification.failed, len(table))
    joined = cells.agg(" ".join, axis=1).str.strip()
    submission.write_submission(output, image_ids(table["path"].tolist(), form), joined, form)


def _check_submission(paths: "pd.Series[str]", labels: Sequence[str], form: SubmissionForm, *, places: int) -> None:
    """Refuse images that share an id or have none, and labels that cannot stand beside each other."""
    ids = image_ids(paths.tolist(), form)
    if ids.duplicated().any():
        first = ids[ids.duplicated()].iloc[0]
        twice = " and ".join(paths[(ids == first).to_numpy()].head(2))
        raise DataError(
            f"--submission: names images by file name, but {first!r} is that of {twice}; submit one folder"
        )
    submission.check_ids(Path(form.source), ids, form)
    blank = next((label for label in labels if any(letter.isspace() for letter in label)), None)
    if places > 1 and blank is not None:
        raise DataError(
            f"--submission: separates labels by blanks, but {blank!r} holds one; rename the identity, or give --top 1"
        )


def _head(verifier: Verifier) -> tuple[IdentityHead, tuple[str, ...]]:
    head = verifier.network.identity_head
    labels = None if verifier.card is None else verifier.card.identities
    if head is None or labels is None:
        raise OptionError(
            f"--model {verifier.name}: has no identity head; train one with "
            "`siamese train DATA --loss arcface -o DIR`"
        )
    return head, labels


@torch.inference_mode()
def _probabilities(
    head: IdentityHead, vectors: NDArray[np.float32], device: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities (N, C) of unit embeddings (N, D), and the identities from the most to the least probable."""
    probabilities = head.probabilities(torch.from_numpy(vectors).to(device)).cpu()
    order = probabilities.argsort(dim=1, descending=True, stable=True)
    return probabilities.numpy(), order.numpy()


def _table(
    images: pd.DataFrame,
    labels: tuple[str, ...],
    chosen: NDArray[np.int64],
    shares: NDArray[np.float64],
    outcomes: list[Outcome],
) -> pd.DataFrame:
    names = np.array([*labels, None], dtype=object)  # -1, of an image without an embedding, is the last
    columns: dict[str, object] = {"path": images["path"]}
    for place in range(chosen.shape[1]):
        suffix = f"_{place + 1}" if place else ""
        columns[f"identity{suffix}"] = names[chosen[:, place]]
        columns[f"probability{suffix}"] = shares[:, place]
    columns["status"] = [outcome.status for outcome in outcomes]
    columns["detail"] = [outcome.detail for outcome in outcomes]
    if images["identity"].notna().any():
        columns["true_identity"] = images["identity"]
    return pd.DataFrame(columns)
