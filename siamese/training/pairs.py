"""The pairs a run trains and validates on: given in files, or made from the catalog and kept in the run folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.config import TrainConfig
from siamese.errors import DataError, OptionError, PairFileError
from siamese.images.alignment import failed_alignments
from siamese.images.catalog import Catalog, read_catalog
from siamese.losses.batch import TripletIndex
from siamese.losses.registry import parse_objective
from siamese.pairing.formats import kind_of, read_pairs, read_triplets, write_pairs, write_triplets
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.sampling import draw_pairs, sample_pairs, sample_triplets
from siamese.pairing.splits import parse_ratio, split_identities
from siamese.pairing.supply import default_counts, impostor_totals, seeded
from siamese.pairing.table import PAIR_COLUMNS, TRIPLET_COLUMNS, check_files_exist, pair_counts, unique_images
from siamese.progress import log

TRAIN_FILE, VAL_FILE = "train.csv", "val.csv"
_VAL_IMPOSTORS = 10  # to one genuine pair, among validation pairs that are made


@dataclass(frozen=True)
class RunPairs:
    """What a run trains and validates on.

    Attributes:
        root: the folder that paths are relative to.
        train: pair or triplet table.
        val: pair table; its identities are not in `train` when this module made it.
    """

    root: Path
    train: pd.DataFrame
    val: pd.DataFrame


def prepare_pairs(config: TrainConfig, *, triplets: bool, folder: Path, ratio: str = "1:1") -> RunPairs:
    """Read or make the pairs of a run, and keep them in `folder` as `train.csv` and `val.csv`.

    Without `pairs`, training pairs (or triplets) are drawn from the catalog; without `val_pairs`, a share of the
    identities is carved out for validation first, and training rows that show one of them are left out.

    Args:
        config: of the run.
        triplets: whether the loss needs triplets.
        folder: where the pairs are kept.
        ratio: genuine to impostor among training pairs that are made, where the configuration names none.

    Raises:
        DataError, PairFileError: as `read_catalog`, the readers and the samplers do; identities that are needed and
            not known.
    """
    _check_options(config)
    root = _root(config)
    given = None if config.pairs is None else _read(config.pairs, root)
    val = None if config.val_pairs is None else _read_labelled(config.val_pairs, root)
    if triplets and given is not None and "anchor" not in given.columns:
        raise PairFileError(
            f"{config.pairs}: holds pairs, and --loss {config.loss} learns from triplets; "
            "make them with `siamese make-pairs --kind triplets`"
        )
    if given is None or val is None:
        catalog = _catalog(config, given)
        if val is None:
            catalog, val = _carve_validation(config, catalog)
        else:
            catalog = _without(catalog, val)
        train = _draw(config, catalog, triplets, ratio) if given is None else _only_among(given, catalog)
    else:
        train = given
        shared = set(unique_images(train)) & set(unique_images(val))
        if shared:
            log.warning("%d images are in training and in validation: its figures flatter the model", len(shared))
    (write_triplets if "anchor" in train.columns else write_pairs)(train, folder / TRAIN_FILE)
    write_pairs(val, folder / VAL_FILE)
    log.info("training on %d %s, validating on %s", len(train), _what(train), _describe(val))
    return RunPairs(root, train, val)


def kept_pairs(config: TrainConfig, folder: Path) -> RunPairs:
    """The pairs that an earlier run kept, for its resumption.

    Raises:
        PairFileError: they are gone.
    """
    root = _root(config)
    return RunPairs(root, _read(folder / TRAIN_FILE, root), _read_labelled(folder / VAL_FILE, root))


def _root(config: TrainConfig) -> Path:
    return config.data.parent if config.data.is_file() else config.data


def _check_options(config: TrainConfig) -> None:
    """An option that the others leave nothing to do is a mistake, and never passed over."""
    if config.pairs is not None and config.num_pairs is not None:
        raise OptionError("--num-pairs: says how many pairs to make, and --pairs gives them; leave one of them out")
    if config.ratio is not None and (config.pairs is not None or parse_objective(config.loss).needs is TripletIndex):
        raise OptionError("--ratio: is for pairs to be made, and none are made here; leave it out")
    if config.val_pairs is None:
        return
    if config.val_share != TrainConfig.model_fields["val_share"].default:
        raise OptionError("--val-share: says how many to carve out, and --val-pairs gives the pairs; leave one out")
    if config.pairs is not None and config.identities is not None:
        raise OptionError("--identities: chooses whom pairs are made of, and --pairs and --val-pairs give them all")


def _read(path: Path, root: Path) -> pd.DataFrame:
    if kind_of(path) == "pairs":
        return _read_labelled(path, root)
    return _present(read_triplets(path), root, path)


def _read_labelled(path: Path, root: Path) -> pd.DataFrame:
    frame = read_pairs(path)
    if frame["same"].isna().any():
        raise PairFileError(f"{path}: {int(frame['same'].isna().sum())} pairs have no label in column 'same'")
    return _present(frame, root, path)


def _present(frame: pd.DataFrame, root: Path, path: Path) -> pd.DataFrame:
    """Leave out rows whose image `siamese align` found no face in; any other missing file is an error."""
    failed = failed_alignments(root)
    columns = TRIPLET_COLUMNS if "anchor" in frame.columns else PAIR_COLUMNS[:2]
    lost = np.logical_or.reduce([frame[column].isin(failed) for column in columns])
    if lost.any():
        log.warning("%s: %d rows name an image without a crop and are left out", path, int(lost.sum()))
        frame = frame[~lost]
        if frame.empty:
            raise PairFileError(f"{path}: no row is left; pair images that `siamese align` found a face in")
    check_files_exist(frame, root, str(path))
    return frame


def _catalog(config: TrainConfig, given: pd.DataFrame | None) -> Catalog:
    catalog = read_catalog(config.data, identity_depth=config.identity_depth)
    if config.identities is not None:
        catalog = catalog.restricted_to(config.identities)
    if given is None:
        return catalog
    # Validation is carved out of the people of the pair file, not of everybody in the folder.
    named = catalog.images[catalog.images["path"].isin(unique_images(given))].reset_index(drop=True)
    if named.empty:
        raise DataError(f"{config.pairs}: none of its images lies in an identity folder of {config.data}")
    return Catalog(catalog.root, named, catalog.unreadable)


def _carve_validation(config: TrainConfig, catalog: Catalog) -> tuple[Catalog, pd.DataFrame]:
    shares = (1.0 - config.val_share, config.val_share)
    train, held_out = split_identities(catalog.images, shares, config.seed)
    val = sample_validation_pairs(held_out, config.seed)
    return Catalog(catalog.root, train, catalog.unreadable), val


def sample_validation_pairs(held_out: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Genuine pairs as many as the identities carry well, and ten times as many impostor pairs if there are so many.

    Impostor pairs cost nothing here, as each image is embedded once: they steady the threshold, and a few
    thousand support an operating point at FAR 0.001.
    """
    index = IdentityIndex.of(held_out)
    genuine, _ = default_counts(index, (1, 1))
    impostor = min(_VAL_IMPOSTORS * genuine, int(impostor_totals(index).sum()))
    return draw_pairs(seeded(seed), held_out, index, genuine, impostor)


def _without(catalog: Catalog, val: pd.DataFrame) -> Catalog:
    """Leave out the identities that the validation pairs show."""
    shown = catalog.images["path"].isin(unique_images(val))
    identities = catalog.images.loc[shown, "identity"].unique()
    kept = catalog.images[~catalog.images["identity"].isin(identities)].reset_index(drop=True)
    if kept.empty:
        found = f"show all {len(identities)} identities of {catalog.root}"
        raise DataError(f"--val-pairs {found}; leave out at least two to train on, or give --pairs")
    return Catalog(catalog.root, kept, catalog.unreadable)


def _only_among(given: pd.DataFrame, catalog: Catalog) -> pd.DataFrame:
    """Keep the rows whose images all belong to the catalog."""
    columns = TRIPLET_COLUMNS if "anchor" in given.columns else PAIR_COLUMNS[:2]
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


def _draw(config: TrainConfig, catalog: Catalog, triplets: bool, ratio: str) -> pd.DataFrame:
    # As many as there are images show each image two or three times an epoch.
    images, number, seed = catalog.images, config.num_pairs, config.seed
    if triplets:
        return sample_triplets(images, num_triplets=number, seed=seed, at_most=len(images))
    kinds = parse_ratio(config.ratio or ratio)
    return sample_pairs(images, num_pairs=number, ratio=kinds, seed=seed, at_most=len(images))


def _what(frame: pd.DataFrame) -> str:
    return "triplets" if "anchor" in frame.columns else "pairs"


def _describe(pairs: pd.DataFrame) -> str:
    counts = pair_counts(pairs)
    return f"{counts['genuine']} genuine and {counts['impostor']} impostor pairs"
