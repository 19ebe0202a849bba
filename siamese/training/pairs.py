"""The pairs a run trains and validates on: given in files, or made from the catalog and kept in the run folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.atomic import write_text
from siamese.config import TrainConfig
from siamese.errors import DataError, OptionError, PairFileError
from siamese.images.alignment import failed_alignments
from siamese.images.catalog import Catalog, read_catalog, root_of
from siamese.losses.batch import TripletIndex
from siamese.losses.registry import parse_objective
from siamese.pairing.audit import cheap_findings
from siamese.pairing.formats import is_pair_file, kind_of, read_pairs, read_triplets, write_pairs, write_triplets
from siamese.pairing.sampling import draw_pairs, sample_pairs, sample_triplets
from siamese.pairing.splits import parse_ratio, split_identities
from siamese.pairing.supply import PairSupply, seeded
from siamese.pairing.table import PAIR_COLUMNS, TRIPLET_COLUMNS, check_files_exist, pair_counts, unique_images
from siamese.progress import log
from siamese.training.identities import identities_of

TRAIN_FILE, VAL_FILE, ROOT_FILE = "train.csv", "val.csv", "root.txt"
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

    Without `pairs`, training pairs (or triplets) are drawn from the catalog; without `val_pairs`, validation pairs
    are of the layout's own validation people, or of a share of the identities that is carved out first, and training
    rows that show one of them are left out. Pairs whose images lie in no identity folders are closed transitively
    into identities.

    Args:
        config: of the run; its `data` may be a pair file too, which then is what `pairs` gives.
        triplets: whether the loss needs triplets.
        folder: where the pairs are kept.
        ratio: genuine to impostor among training pairs that are made, where the configuration names none.

    Raises:
        DataError, PairFileError: as `read_catalog`, the readers and the samplers do; identities that are needed and
            not known.
    """
    config = _with_pairs_of_data(config)
    _check_options(config)
    root = root_of(config.data)
    given = None if config.pairs is None else _read(config.pairs, root, config.same_label)
    val = None if config.val_pairs is None else _read_labelled(config.val_pairs, root, config.same_label)
    if triplets and given is not None and "anchor" not in given.columns:
        raise PairFileError(
            f"{config.pairs}: holds pairs, and --loss {config.loss} learns from triplets; "
            "make them with `siamese make-pairs --kind triplets`"
        )
    if given is None or val is None:
        catalog = _catalog(config, given, root)
        if val is None:
            catalog, val = _carve_validation(config, catalog)
        else:
            catalog = _without(catalog, val)
        train = _draw(config, catalog, triplets, ratio) if given is None else _only_among(given, catalog)
    else:
        train = given
    _warn_of_problems(train, val)
    (write_triplets if "anchor" in train.columns else write_pairs)(train, folder / TRAIN_FILE)
    write_pairs(val, folder / VAL_FILE)
    write_text(folder / ROOT_FILE, f"{root}\n")
    log.info("training on %d %s, validating on %s", len(train), _what(train), _describe(val))
    return RunPairs(root, train, val)


def kept_pairs(folder: Path) -> RunPairs:
    """The pairs that an earlier run kept, for its resumption.

    Raises:
        PairFileError: they are gone.
    """
    for name in (TRAIN_FILE, VAL_FILE, ROOT_FILE):
        if not (folder / name).is_file():
            raise PairFileError(f"{folder / name}: no such file; start the run again without --resume")
    root = Path((folder / ROOT_FILE).read_text(encoding="utf-8").removesuffix("\n"))
    return RunPairs(root, _read(folder / TRAIN_FILE, root), _read_labelled(folder / VAL_FILE, root))


def _with_pairs_of_data(config: TrainConfig) -> TrainConfig:
    """A pair file alone is enough to train: given as DATA, it is what --pairs would name."""
    if config.pairs is not None or not config.data.is_file() or not is_pair_file(config.data):
        return config
    return config.model_copy(update={"pairs": config.data})


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


def _read(path: Path, root: Path, same_label: str | None = None) -> pd.DataFrame:
    kind = kind_of(path)
    if kind == "pairs":
        return _read_labelled(path, root, same_label)
    if kind == "quadruplets":
        raise PairFileError(f"{path}: holds quadruplets, and no loss learns from them yet; give pairs or triplets")
    return _present(read_triplets(path), root, path)


def _read_labelled(path: Path, root: Path, same_label: str | None = None) -> pd.DataFrame:
    frame = read_pairs(path, same_label=same_label)
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


def _catalog(config: TrainConfig, given: pd.DataFrame | None, root: Path) -> Catalog:
    if given is None:
        catalog = read_catalog(config.data, identity_depth=config.identity_depth)
        if "test" in catalog.splits:
            kept = catalog.images[catalog.images["split"] != "test"].reset_index(drop=True)
            catalog = replace(catalog, images=kept)
    else:
        # Validation is carved out of the people of the pair file, not of everybody in the folder.
        catalog = identities_of(given, root, str(config.pairs), config.data, config.identity_depth)
    return catalog if config.identities is None else catalog.restricted_to(config.identities)


def _carve_validation(config: TrainConfig, catalog: Catalog) -> tuple[Catalog, pd.DataFrame]:
    parts = _own_parts(catalog)
    if parts is None:
        shares = (1.0 - config.val_share, config.val_share)
        parts = split_identities(catalog.images, shares, config.seed)
    train, held_out = parts
    return replace(catalog, images=train), sample_validation_pairs(held_out, config.seed)


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
    kept = catalog.images[~catalog.images["identity"].isin(identities)].reset_index(drop=True)
    if kept.empty:
        found = f"show all {len(identities)} identities of {catalog.root}"
        raise DataError(f"--val-pairs {found}; leave out at least two to train on, or give --pairs")
    return replace(catalog, images=kept)


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


def _warn_of_problems(train: pd.DataFrame, val: pd.DataFrame) -> None:
    """What the tables alone tell; `siamese audit` opens the images too."""
    lines = cheap_findings(train, val).lines()
    if lines:
        log.warning("problems in the pairs; `siamese audit --pairs` tells more:")
    for line in lines:
        log.warning("  %s", line)


def _what(frame: pd.DataFrame) -> str:
    return "triplets" if "anchor" in frame.columns else "pairs"


def _describe(pairs: pd.DataFrame) -> str:
    counts = pair_counts(pairs)
    return f"{counts['genuine']} genuine and {counts['impostor']} impostor pairs"
