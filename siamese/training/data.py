"""The images of a run in memory, and what training and validation take of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.config import TrainConfig
from siamese.errors import DataError
from siamese.images.cache import PixelCache
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader
from siamese.images.manifest import UNKNOWN
from siamese.images.pixel_store import open_pixel_store
from siamese.progress import log
from siamese.training.kept_pairs import RunPairs
from siamese.training.pairs import BatchKind
from siamese.training.plans import IdentityPlan, ImagePlan, Plan, TuplePlan
from siamese.training.tuples import Tuples, index_tuples
from siamese.training.validation import HeldOut

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RunData:
    """The images of a run and what is known of them.

    Attributes:
        cache: their pixels.
        paths: their paths, by row.
        tuples: training tuples; None where batches are made of identities.
        rows: images to train on, rising.
        labels: the identity of each of `rows`, from 0, and -1 where it is not known; None where batches are made of
            tuples.
        identities: names of the identities, by label; empty where batches are made of tuples.
        val: validation pairs.
        held_out: held-out images of known identities; None without.
        by_teacher: whether validation pairs are a teacher's, and say nothing about identities.
    """

    cache: PixelCache
    paths: list[str]
    tuples: Tuples | None
    rows: Ints
    labels: Ints | None
    identities: tuple[str, ...]
    val: Tuples
    held_out: HeldOut | None
    by_teacher: bool = False

    @property
    def size(self) -> int:
        """How many tuples, or images in batches of identities, an epoch is made of."""
        return len(self.rows) if self.tuples is None else len(self.tuples)

    def plain_rows(self, *, training: bool) -> Ints:
        """Images looked at without augmentation, rising: of validation, and for class means those of training."""
        others = [] if self.held_out is None else [self.held_out.rows]
        others += [self.rows] if training else []
        return np.unique(np.concatenate([self.val.rows.ravel(), *others]))

    def without_singles(self) -> "RunData":
        """The same without training images that are the only ones of their identity, where batches are of identities:
        only a classifier has a use for them.
        """
        if self.labels is None:
            return self
        counts = np.bincount(self.labels, minlength=len(self.identities))
        kept, names = counts[self.labels] > 1, np.flatnonzero(counts > 1)
        if kept.all() or len(names) < 2:  # the plan says what is wrong with so few
            return self
        log.info("%d identities with a single image are left out: the loss has no use for them", (counts == 1).sum())
        return replace(
            self,
            rows=self.rows[kept],
            labels=np.searchsorted(names, self.labels[kept]),
            identities=tuple(self.identities[name] for name in names),
            held_out=None,  # without a classifier there is nothing to judge
        )

    def taught(self, rows: Ints) -> "RunData":
        """The same with those training images alone that a teacher has an embedding of.

        Args:
            rows: which images those are, rising.

        Raises:
            DataError: no training tuple is left.
        """
        kept = np.isin(self.rows, rows)
        if kept.all():
            return self
        if self.tuples is None:
            assert self.labels is not None  # noqa: S101 - one of the two is there
            return replace(self, rows=self.rows[kept], labels=self.labels[kept])
        whole: NDArray[np.bool_] = np.asarray(np.isin(self.tuples.rows, rows).all(axis=1))
        if not whole.any():
            raise DataError(
                "every training pair shows an image that the teacher cannot use; `siamese audit` says why"
            )
        return replace(self, rows=self.rows[kept], tuples=self.tuples.of(whole))

    def plan(self, config: TrainConfig, kind: BatchKind, *, singles: bool) -> Plan:
        """What fills the batches of training."""
        if self.labels is None:
            assert self.tuples is not None  # noqa: S101 - one of the two is there
            return TuplePlan(self.tuples, config.batch_size)
        if kind == "images":
            return ImagePlan(self.rows, self.labels, config.batch_size)
        return IdentityPlan(
            self.rows,
            self.labels,
            batch_size=config.batch_size,
            images_per_identity=config.images_per_identity,
            singles=singles,
        )


def read_run_data(config: TrainConfig, spec: InputSpec, pairs: RunPairs, device: str, run: Path) -> RunData:
    """Decode, align and index what a run trains and validates on.

    Raises:
        DataError: nothing that can be used is left, or only one kind of validation pairs.
    """
    paths = pairs.image_paths()
    loader = ImageLoader(spec, align=config.align, face=config.face, device=device)
    store = open_pixel_store(config.cache, config.cache_limit, loader)
    cache = PixelCache(loader, pairs.root, paths, run / "pixels.bin", store=store)
    try:
        _report_unusable(cache)
        return _index(cache, paths, pairs)
    except BaseException:
        cache.close()
        raise


def _index(cache: PixelCache, paths: list[str], pairs: RunPairs) -> RunData:
    train = None if pairs.train is None else index_tuples(pairs.train, paths, cache.usable)
    val = index_tuples(pairs.val, paths, cache.usable, identities=True)
    indexed = [(pairs.train, train), (pairs.val, val)]
    lost = sum(len(table) - len(kept) for table, kept in indexed if table is not None and kept is not None)
    if lost:
        log.warning("%d rows name an image that cannot be used and are left out", lost)
    if val.same is None or val.same.all() or not val.same.any():
        raise DataError("the validation pairs must hold genuine and impostor pairs; give others with --val-pairs")
    if pairs.images is None:
        assert train is not None  # noqa: S101 - one of the two is there
        return RunData(cache, paths, train, np.unique(train.rows), None, (), val, None)
    rows, names = _labelled(pairs.images, paths, cache.usable)
    if not len(rows):
        raise DataError(f"none of {len(pairs.images)} images to train on can be used; `siamese audit` says why")
    order = np.argsort(rows)
    identities, labels = _numbered(names[order])
    held_out = None if pairs.held_out is None else _held_out(pairs.held_out, paths, cache.usable, identities)
    known = tuple(map(str, identities))
    return RunData(cache, paths, None, rows[order], labels, known, val, held_out, pairs.by_teacher)


def _numbered(names: NDArray[np.str_]) -> tuple[NDArray[np.str_], Ints]:
    """The identities that are known, in order, and the number of each image's, -1 where it is not known."""
    known = names != UNKNOWN
    identities, numbers = np.unique(names[known], return_inverse=True)
    labels = np.full(len(names), -1, np.int64)
    labels[known] = numbers
    return identities, labels


def _held_out(
    images: pd.DataFrame, paths: list[str], usable: NDArray[np.bool_], identities: NDArray[np.str_]
) -> HeldOut:
    rows, names = _labelled(images, paths, usable)
    places = np.searchsorted(identities, names).clip(max=len(identities) - 1)
    known = identities[places] == names  # all of an identity's training images may have been unusable
    if not known.any():
        raise DataError(
            f"--val-images: none of {len(images)} held-out images can be used; `siamese audit` says why, and "
            "--val-share holds identities out instead"
        )
    return HeldOut(rows[known], places[known].astype(np.int64))


def _labelled(images: pd.DataFrame, paths: list[str], usable: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.str_]]:
    """Rows of the usable images of a table, and their identities."""
    rows = pd.Index(paths).get_indexer(pd.Index(images["path"]))
    kept = usable[rows]
    return rows[kept].astype(np.int64), images["identity"].to_numpy(dtype=str)[kept]


def _report_unusable(cache: PixelCache) -> None:
    for status, what in (("unreadable", "unreadable images"), ("no_face", "images without a face")):
        details = [outcome.detail for outcome in cache.outcomes if outcome.status == status]
        if details:
            log.warning("%d %s, first: %s", len(details), what, details[0])
