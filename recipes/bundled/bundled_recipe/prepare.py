"""Step 1: the images that are trained on, and those that are held out.

Nobody is on both sides: held out are a share of LFW's View 1 DevTrain people and some of pins (validation,
calibration, operating points), and some unlabelled images (figures for groups). People of View 1's DevTest, whom the
student is measured on, are neither trained nor validated on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bundled_recipe.crops import align_all, align_some, take_over
from bundled_recipe.groups import choose_groups
from bundled_recipe.people import (
    SPLIT_SEED,
    Crops,
    choose_held_out,
    listed_people,
    person_key,
    read_crops,
    shared_names,
)
from bundled_recipe.records import digests, read_record, unchanged, write_csv, write_record
from bundled_recipe.unpack import unpack_images
from bundled_recipe.workplace import Workplace
from siamese.errors import DataError
from siamese.images.walk import walk_images
from siamese.pairing.formats import read_pairs, write_any
from siamese.pairing.sampling import sample_pairs
from siamese.pairing.table import pair_counts, unique_images
from siamese.progress import log
from siamese.training.pairs import sample_validation_pairs

# Of the validation pairs of either kind: what LFW's people do not show (years between two photographs of one person)
# has a say, and photographs like those of LFW, which the figures are of, have most of it.
PINS_SHARE = 0.2
IMPOSTORS = 10
VERSION = 1


@dataclass(frozen=True)
class Split:
    """Who is trained on and who is held out.

    Attributes:
        training: columns `path`, `identity` (empty where it is not known).
        val: pairs of held-out people.
        groups: held-out images of unknown people, with their groups.
        shared: names that occur in several sets.
    """

    training: pd.DataFrame
    val: pd.DataFrame
    groups: pd.DataFrame
    shared: dict[str, list[str]]


def prepare(place: Workplace, lfw_crops: Path | None = None) -> None:
    """Unpack, align and divide; nothing is done where an earlier call finished and its files are as they were.

    Args:
        place: where to.
        lfw_crops: LFW as `siamese align` wrote it, to save the minutes that aligning takes.

    Raises:
        DataError: something of the data is missing or not as announced, or somebody would be on both sides.
    """
    if is_prepared(place):
        log.info("prepare: done before")
        return
    people, test = (listed_people(place.protocol(f"people{name}.txt")) for name in ("DevTrain", "DevTest"))
    unpack_images(place.given("faces-train.zip", "the archive of face crops"), place.images)
    _align_lfw(place, people, lfw_crops)
    align_all(place.given("orl", "the ORL faces"), place.images / "orl")
    faces = place.images / "faces-train"
    split = divide(read_crops(place.images, faces, place.images / "lfw", people))
    check_disjoint(split, test)
    _write(place, split)


def is_prepared(place: Workplace) -> bool:
    """Whether a finished preparation is there and as it was left."""
    record = read_record(place.prepared)
    return record is not None and record.get("version") == VERSION and unchanged(place.work, record["files"])


def divide(crops: Crops) -> Split:
    """Divide the crops; the same crops are divided in the same way every time."""
    shared = shared_names(crops.named)
    held_out = choose_held_out(crops.named)
    named = crops.named.assign(key=crops.named["identity"].map(person_key))
    held_keys = {person_key(name) for part in held_out.values() for name in part["identity"].unique()}
    groups = choose_groups(crops.unnamed, SPLIT_SEED)
    kept = named[~named["key"].isin(held_keys)]
    # One person, one identity, however the sets spell the name.
    identity = kept.groupby("key")["identity"].transform("min")
    unnamed = sorted(set(crops.unnamed) - set(groups["path"]))
    training = pd.concat(
        [
            pd.DataFrame({"path": kept["path"], "identity": identity}),
            pd.DataFrame({"path": unnamed, "identity": ""}),
        ]
    ).sort_values("path", ignore_index=True)
    return Split(training, _val_pairs(held_out), groups, shared)


def check_disjoint(split: Split, test_people: list[str]) -> None:
    """Make sure that nobody is on both sides.

    Args:
        split: to check.
        test_people: of View 1's DevTest.

    Raises:
        DataError: names whom.
    """
    trained = _keys(split.training["identity"]) - {""}
    validated = _keys(split.val["left_identity"]) | _keys(split.val["right_identity"])
    tested = {person_key(name) for name in test_people}
    for one, other, what in (
        (trained, tested, "trained on and in DevTest"),
        (validated, tested, "validated on and in DevTest"),
        (trained, validated, "trained on and validated on"),
    ):
        if both := sorted(one & other):
            raise DataError(f"{len(both)} people are {what}, {both[0]!r} first; the split must keep them apart")
    used = {*split.training["path"]}
    held = {*unique_images(split.val), *split.groups["path"]}
    if both := sorted(used & held):
        raise DataError(f"{len(both)} images are trained on and held out, {both[0]} first")


def needed_of_lfw(place: Workplace, people: list[str]) -> list[str]:
    """Images of LFW that the recipe reads: all of the DevTrain people, and those of the test pairs."""
    root = place.given("lfw", "Labeled Faces in the Wild")
    pairs = (read_pairs(place.protocol(f"pairs{name}.txt")) for name in ("DevTrain", "DevTest"))
    of_pairs = {path for table in pairs for path in unique_images(table)}
    wanted = frozenset(people)
    of_people = {path for path in walk_images(root) if path.partition("/")[0] in wanted}
    return sorted(of_pairs | of_people)


def _align_lfw(place: Workplace, people: list[str], crops: Path | None) -> None:
    needed, target = needed_of_lfw(place, people), place.images / "lfw"
    if crops is not None:
        lost = take_over(crops, target, needed)
    else:
        lost = align_some(place.data / "lfw", target, needed, place.work / "lfw-needed")
    log.info("LFW: %d crops, no face found in %d images", len(needed) - lost, lost)


def _val_pairs(held_out: dict[str, pd.DataFrame]) -> pd.DataFrame:
    lfw = sample_validation_pairs(held_out["lfw"], SPLIT_SEED)
    genuine = round(int(lfw["same"].sum()) * PINS_SHARE / (1 - PINS_SHARE))
    pins = sample_pairs(
        held_out["pins"], num_pairs=genuine * (1 + IMPOSTORS), ratio=(1, IMPOSTORS), seed=SPLIT_SEED, what="pins: "
    )
    return pd.concat([lfw, pins], ignore_index=True)


def _write(place: Workplace, split: Split) -> None:
    write_csv(place.training_images, split.training)
    write_any(split.val, place.val_pairs, "pairs")
    write_csv(place.groups, split.groups)
    for name in split.shared.values():
        log.info("in several sets, taken for one person: %s", ", ".join(name))
    labelled = split.training["identity"] != ""
    counts = {
        "training": len(split.training),
        "training_labelled": int(labelled.sum()),
        "training_people": int(split.training.loc[labelled, "identity"].nunique()),
        "held_out_people": len(np.union1d(split.val["left_identity"], split.val["right_identity"])),
        "groups": len(split.groups),
    }
    val = {name: number or 0 for name, number in pair_counts(split.val).items()}
    files = digests(place.work, place.training_images, place.val_pairs, place.groups)
    record = {"version": VERSION, "counts": counts, "val": val, "shared_names": split.shared, "files": files}
    write_record(place.prepared, record)
    log.info("prepared: %s; validation: %s", _words(counts), _words(val))


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items())


def _keys(names: "pd.Series[str]") -> set[str]:
    return {person_key(name) for name in names.unique()}
