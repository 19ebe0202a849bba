"""Filling an embedding store: what it has is kept, what it lacks is embedded, in the same batches each time."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siamese.errors import ModelError
from siamese.images.loader import Outcome
from siamese.inference.embedding_store import NOTHING, STATUSES, EmbeddingStore
from siamese.inference.embedding_store_marks import FileMark, holds
from siamese.inference.verifier import Verifier
from siamese.model.embeddings import default_batch
from siamese.progress import log, progress

_UNREADABLE = 1 + STATUSES.index("unreadable")
NO_NUMBERS = "the model makes no numbers of it"


def fill_store(verifier: Verifier, store: EmbeddingStore, root: Path, wanted: NDArray[np.bool_]) -> int:
    """Embed the images that a store has not, or whose files have changed since, or could not be read.

    Batches begin at multiples of their size, whatever is there: a network may round otherwise in a batch of another
    size, and a run that was killed shall end with the very bytes of one that was not.

    Args:
        verifier: of the model that the store is for.
        store: every image has a row.
        root: what names of images are relative to.
        wanted: which rows, shape (M,).

    Returns:
        How many images were embedded, those that failed included.

    Raises:
        ModelError: the model makes no numbers of any image.
        OSError: the store cannot be written; what it has stays there.
    """
    _forget_changed(store, root, wanted)
    batch = default_batch(verifier.device)
    todo = np.flatnonzero(wanted & (store.records["status"] == NOTHING))
    images = int(np.count_nonzero(wanted))
    if len(todo) < images:
        log.info("%d of %d images were embedded before", images - len(todo), images)
    if not len(todo):
        return 0
    nothing: tuple[None, ...] = ()
    with progress(nothing, f"embedding {len(todo)} images", len(todo), "image") as bar:
        for rows in np.split(todo, np.flatnonzero(np.diff(todo // batch)) + 1):
            _embed(verifier, store, root, rows)
            bar.update(len(rows))
    _check_numbers(verifier.name, store, wanted)
    return len(todo)


def _forget_changed(store: EmbeddingStore, root: Path, wanted: NDArray[np.bool_]) -> None:
    status = store.records["status"]
    # What could not be read may have been put right since.
    store.forget(np.flatnonzero(wanted & (status == _UNREADABLE)))
    changed: list[int] = []
    done = np.flatnonzero(wanted & (status != NOTHING))
    for row in progress(done, f"checking {len(done)} embedded images", unit="image") if len(done) else ():
        found = holds(_path(store, root, int(row)), store.records[row])
        if isinstance(found, FileMark):
            store.renew(int(row), found)
        elif not found:
            changed.append(int(row))
    store.forget(np.array(changed, np.int64))


def _embed(verifier: Verifier, store: EmbeddingStore, root: Path, rows: NDArray[np.int64]) -> None:
    paths = [_path(store, root, int(row)) for row in rows]
    marks = [FileMark.of(path) for path in paths]
    embeddings = verifier.embed(paths)
    finite = np.asarray(np.isfinite(embeddings.vectors).all(axis=1))
    outcomes = [
        outcome if good else Outcome("unreadable", NO_NUMBERS)
        for outcome, good in zip(embeddings.outcomes, finite, strict=True)
    ]
    vectors = np.where(finite[:, None], embeddings.vectors, np.float32(0))
    store.put(rows, vectors, outcomes, [mark.confirmed(path) for mark, path in zip(marks, paths, strict=True)])


def _path(store: EmbeddingStore, root: Path, row: int) -> Path:
    return Path(os.path.join(root, store.names[row].as_py()))  # noqa: PTH118 - a Path to begin with takes twice as long


def _check_numbers(name: str, store: EmbeddingStore, wanted: NDArray[np.bool_]) -> None:
    if (store.usable & wanted).any():
        return
    if any(outcome.detail == NO_NUMBERS and wanted[row] for row, outcome in store.failures.items()):
        raise ModelError(f"{name}: makes no numbers of any image, its weights are damaged; fetch or train it again")
