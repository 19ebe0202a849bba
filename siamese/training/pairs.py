"""What a run trains and validates on: given in files, or made from the catalog."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from siamese.config import TrainConfig
from siamese.errors import DataError, OptionError, PairFileError
from siamese.images.catalog import Catalog, read_catalog, root_of
from siamese.images.manifest import UNKNOWN
from siamese.images.unlabelled import read_images
from siamese.pairing.audit import cheap_findings
from siamese.pairing.formats import is_pair_file
from siamese.pairing.quadruplets import sample_quadruplets
from siamese.pairing.sampling import draw_pairs, sample_pairs, sample_triplets
from siamese.pairing.splits import parse_ratio, split_identities
from siamese.pairing.supply import PairSupply, seeded
from siamese.pairing.table import image_columns, pair_counts, unique_images
from siamese.progress import log
from siamese.training.held_out import hold_out_images
from siamese.training.identities import identities_of
from siamese.training.kept_pairs import RunPairs, keep_pairs
from siamese.training.teacher_pairs import Judge, hold_out_for_teacher
from siamese.training.tuple_files import TupleKind, read_labelled_pairs, read_tuples, tuple_kind

_VAL_IMPOSTORS = 10  # to one genuine pair, among validation pairs that are made

BatchKind = TupleKind | Literal["identities", "images"]
# Every triplet holds two pairs, and every quadruplet two triplets.
_SERVED: dict[str, tuple[str, ...]] = {
    "pairs": ("pairs",),
    "triplets": ("pairs", "triplets"),
    "quadruplets": ("pairs", "triplets", "quadruplets"),
}


def prepare_pairs(
    config: TrainConfig, *, kind: BatchKind, folder: Path, ratio: str = "1:1", judge: Judge | None = None
) -> RunPairs:
    """Read or make what a run trains and validates on, and keep it in `folder`.

    Without `pairs`, training tuples are drawn from the catalog; without `val_pairs`, validation pairs are of the
    layout's own validation people, or of a share of the identities that is carved out first, or with `val_images` of
    images that are held out of each identity; training rows that show one of them are left out. Pairs whose images
    lie in no identity folders are closed transitively into identities.

    Args:
        config: of the run; its `data` may be a pair file too, which then is what `pairs` gives.
        kind: what batches are made of.
        folder: where all of it is kept.
        ratio: genuine to impostor among training pairs that are made, where the configuration names none.
        judge: the teacher, which makes the validation pairs where no identity is known; None without one.

    Raises:
        DataError, PairFileError: as `read_catalog`, the readers and the samplers do; identities that are needed and
            not known.
    """
    config = _with_pairs_of_data(config)
    _check_options(config, kind)
    root = root_of(config.data)
    given = None if config.pairs is None else read_tuples(config.pairs, root, config.same_label)
    val = None if config.val_pairs is None else read_labelled_pairs(config.val_pairs, root, config.same_label)
    if given is not None and kind != "identities" and kind not in _SERVED[tuple_kind(given)]:
        raise PairFileError(
            f"{config.pairs}: holds {tuple_kind(given)}, and --loss {config.objective} learns from {kind}; "
            f"make them with `siamese make-pairs --kind {kind}`"
        )
    train, held_out, by_teacher = given, None, False
    tuples: TupleKind | None = None if kind == "identities" or kind == "images" else kind
    if given is None or val is None or tuples is None or config.val_images is not None:
        catalog = _catalog(config, given, root, unlabelled=kind == "images")
        if config.val_images is not None:
            catalog, held_out = _hold_out(config, catalog if val is None else _without(catalog, val))
            val = _pairs_of_held_out(config, held_out) if val is None else val
        elif val is None and judge is not None and (catalog.images["identity"] == UNKNOWN).all():
            learnt, val = hold_out_for_teacher(catalog.images, config.val_share, config.seed, judge)
            catalog, by_teacher = replace(catalog, images=learnt), True
        elif val is None:
            catalog, val = _carve_validation(config, catalog)
        else:
            catalog = _without(catalog, val)
        if tuples is not None:
            train = _draw(config, catalog, tuples, ratio) if given is None else _only_among(given, catalog)
    images = catalog.images[["path", "identity"]] if tuples is None else None
    pairs = RunPairs(root, None if tuples is None else train, images, val, held_out, by_teacher)
    if pairs.train is not None:
        _warn_of_problems(pairs.train, val)
    keep_pairs(pairs, folder)
    log.info("training on %s, validating on %s", _what(pairs), _describe(val))
    return pairs


def _with_pairs_of_data(config: TrainConfig) -> TrainConfig:
    """A pair file alone is enough to train: given as DATA, it is what --pairs would name."""
    if config.pairs is not None or not config.data.is_file() or not is_pair_file(config.data):
        return config
    return config.model_copy(update={"pairs": config.data})


def _check_options(config: TrainConfig, kind: BatchKind) -> None:
    """An option that the others leave nothing to do is a mistake, and never passed over."""
    if config.num_pairs is not None and (config.pairs is not None or kind in ("identities", "images")):
        reason = "--pairs gives them" if config.pairs is not None else f"batches are made of {kind} here"
        raise OptionError(f"--num-pairs: says how many pairs to make, and {reason}; leave one of them out")
    if config.ratio is not None and (config.pairs is not None or kind != "pairs"):
        raise OptionError("--ratio: is for pairs to be made, and none are made here; leave it out")
    if config.images_per_identity != TrainConfig.model_fields["images_per_identity"].default and kind != "identities":
        found = f"batches are made of {kind} here"
        raise OptionError(f"--images-per-identity: is for batches of identities, and {found}; leave it out")
    carved = config.val_share != TrainConfig.model_fields["val_share"].default
    if carved and config.val_images is not None:
        raise OptionError("--val-share: holds identities out, and --val-images images of each; leave one out")
    if config.val_pairs is None:
        return
    if carved:
        raise OptionError("--val-share: says how many to carve out, and --val-pairs gives the pairs; leave one out")
    if config.pairs is not None and config.identities is not None:
        raise OptionError("--identities: chooses whom pairs are made of, and --pairs and --val-pairs give them all")


def _catalog(config: TrainConfig, given: pd.DataFrame | None, root: Path, *, unlabelled: bool) -> Catalog:
    if given is None:
        read = read_images if unlabelled else read_catalog
        catalog = read(config.data, identity_depth=config.identity_depth)
        if "test" in catalog.splits:
            kept = catalog.images[catalog.images["split"] != "test"].reset_index(drop=True)
            catalog = replace(catalog, images=kept)
    else:
        # Validation is carved out of the people of the pair file, not of everybody in the folder.
        catalog = identities_of(given, root, str(config.pairs), config.data, config.identity_depth)
    return catalog if config.identities is None else catalog.restricted_to(config.identities)


def _carve_validation(config: TrainConfig, catalog: Catalog) -> tuple[Catalog, pd.DataFrame]:
    known = catalog.images["identity"] != UNKNOWN
    nameless, catalog = catalog.images[~known], replace(catalog, images=catalog.images[known].reset_index(drop=True))
    parts = _own_parts(catalog)
    if parts is None:
        shares = (1.0 - config.val_share, config.val_share)
        parts = split_identities(catalog.images, shares, config.seed)
    train, held_out = parts
    images = pd.concat([train, nameless]).sort_values("path", ignore_index=True) if len(nameless) else train
    return replace(catalog, images=images), sample_validation_pairs(held_out, config.seed)


def _own_parts(catalog: Catalog) -> list[pd.DataFrame] | None:
    """Training and validation images as the layout divides them; None where it does not, or shares people."""
    if not {"train", "val"} <= set(catalog.splits):
        return None
    train, held_out = (catalog.of_split(name).images for name in ("train", "val"))
    shared = np.isin(held_out["identity"].unique(), train["identity"].unique())
    if not shared.any():
        return [train, held_out]
    log.warning(
        "%d of %d identities of the validation split are in the training split too: a share of all identities is "
        "held out for validation instead",
        *(int(shared.sum()), len(shared)),
    )
    return None


def sample_validation_pairs(held_out: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Genuine pairs as many as the identities carry well, and ten times as many impostor pairs if there are so many.

    Impostor pairs cost nothing here, as each image is embedded once: they steady the threshold, and a few
    thousand support an operating point at FAR 0.001.
    """
    supply, *_ = PairSupply.of(held_out, None, None)
    genuine, _ = supply.default_counts((1, 1))
    impostor = min(_VAL_IMPOSTORS * genuine, supply.cells.impostor_total)
    return draw_pairs(seeded(seed), held_out, supply.index, genuine, impostor)


def _without(catalog: Catalog, val: pd.DataFrame) -> Catalog:
    """Leave out the identities that the validation pairs show."""
    shown = catalog.images["path"].isin(unique_images(val))
    identities = catalog.images.loc[shown, "identity"].unique()
    theirs = catalog.images["identity"].isin(identities[identities != UNKNOWN])
    kept = catalog.images[~(shown | theirs)].reset_index(drop=True)
    if kept.empty:
        found = f"show all {len(identities)} identities of {catalog.root}"
        raise DataError(f"--val-pairs {found}; leave out at least two to train on, or give --pairs")
    return replace(catalog, images=kept)


def _only_among(given: pd.DataFrame, catalog: Catalog) -> pd.DataFrame:
    """Keep the rows whose images all belong to the catalog."""
    columns = image_columns(given)
    inside = np.logical_and.reduce([given[column].isin(catalog.images["path"]) for column in columns])
    if not inside.any():
        raise DataError(f"no row of {len(given)} is left beside the validation identities; give --val-pairs")
    if not inside.all():
        log.info(
            "%d of %d rows show an identity validated on or not chosen: left out",
            int((~inside).sum()),
            len(given),
        )
    return given[inside].reset_index(drop=True)


def _hold_out(config: TrainConfig, catalog: Catalog) -> tuple[Catalog, pd.DataFrame]:
    assert config.val_images is not None  # noqa: S101 - asked for by the caller
    train, held_out = hold_out_images(catalog.images, config.val_images, config.seed)
    return replace(catalog, images=train), held_out


def _pairs_of_held_out(config: TrainConfig, held_out: pd.DataFrame) -> pd.DataFrame:
    if held_out["identity"].is_unique:
        raise DataError(
            f"--val-images {config.val_images}: genuine validation pairs need two held-out images of an identity, "
            "and none has two; hold out more, or give --val-pairs"
        )
    return sample_validation_pairs(held_out, config.seed)


def _draw(config: TrainConfig, catalog: Catalog, kind: TupleKind, ratio: str) -> pd.DataFrame:
    # As many as there are images show each image two or three times an epoch.
    images, number, seed, most = catalog.images, config.num_pairs, config.seed, len(catalog.images)
    if kind == "quadruplets":
        return sample_quadruplets(images, num_quadruplets=number, seed=seed, at_most=most)
    if kind == "triplets":
        return sample_triplets(images, num_triplets=number, seed=seed, at_most=most)
    return sample_pairs(images, num_pairs=number, ratio=parse_ratio(config.ratio or ratio), seed=seed, at_most=most)


def _warn_of_problems(train: pd.DataFrame, val: pd.DataFrame) -> None:
    """What the tables alone tell; `siamese audit` opens the images too."""
    lines = cheap_findings(train, val).lines()
    if lines:
        log.warning("problems in the pairs; `siamese audit --pairs` tells more:")
    for line in lines:
        log.warning("  %s", line)


def _what(pairs: RunPairs) -> str:
    if pairs.train is not None:
        return f"{len(pairs.train)} {tuple_kind(pairs.train)}"
    assert pairs.images is not None  # noqa: S101 - one of the two is there
    identities = pairs.images["identity"]
    unknown = int((identities == UNKNOWN).sum())
    named = f"{len(identities)} images of {identities[identities != UNKNOWN].nunique()} identities"
    return f"{named}, {unknown} of them of nobody known" if unknown else named


def _describe(pairs: pd.DataFrame) -> str:
    counts = pair_counts(pairs)
    return f"{counts['genuine']} genuine and {counts['impostor']} impostor pairs"
