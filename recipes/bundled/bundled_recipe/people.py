"""Who is who across the sets, and who is held out."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from siamese.errors import DataError
from siamese.images.walk import walk_images
from siamese.pairing.splits import split_identities

# The split is part of the recipe, not of a run: two seeds of training answer to the same people.
SPLIT_SEED = 7
HELD_OUT_SHARE = 0.15
HELD_OUT_PINS = 10
# Folders of `faces-train` whose folders name people; `utk` shows people of unknown name.
NAMED_SETS = ("pins", "glint")


@dataclass(frozen=True)
class Crops:
    """Images by set.

    Attributes:
        named: columns `path` (below the work folder), `identity` and `set`: people of `pins`, `glint` and `lfw`.
        unnamed: paths of images of unknown people.
    """

    named: pd.DataFrame
    unnamed: list[str]


def person_key(name: str) -> str:
    """What is the same for two spellings of a name: letters and digits alone, without accents and case.

    Example:
        >>> person_key("Penélope_Cruz") == person_key("penelope cruz")
        True
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def listed_people(file: Path) -> list[str]:
    """The names in a `people*.txt` of LFW: a line with their count, then `NAME<tab>IMAGES`.

    Raises:
        DataError: no lines of that form, or another number of them than its first line announces.
    """
    lines = file.read_text(encoding="utf-8").split("\n")
    names = [line.partition("\t")[0].strip() for line in lines[1:] if line.strip()]
    if not lines[0].strip().isdigit() or int(lines[0]) != len(names):
        raise DataError(
            f"{file}: {len(names)} names, but its first line announces {lines[0].strip()!r}; copy it again"
        )
    return names


def read_crops(images: Path, faces: Path, lfw: Path, lfw_people: Iterable[str]) -> Crops:
    """List the crops below `images`, the people of LFW restricted to `lfw_people`.

    Args:
        images: folder that all lie in; paths are relative to its parent.
        faces: the unpacked archive, with a folder for each set.
        lfw: crops of LFW, a folder for each person.
        lfw_people: who of LFW is taken.
    """
    wanted = frozenset(lfw_people)
    rows = [(path, name, "lfw") for path, name in _by_person(lfw) if name in wanted]
    rows = [(f"{lfw.relative_to(images.parent).as_posix()}/{path}", name, kind) for path, name, kind in rows]
    for kind in NAMED_SETS:
        prefix = (faces / kind).relative_to(images.parent).as_posix()
        rows += [(f"{prefix}/{path}", name, kind) for path, name in _by_person(faces / kind)]
    unknown = (faces / "utk").relative_to(images.parent).as_posix()
    unnamed = sorted(f"{unknown}/{path}" for path in walk_images(faces / "utk"))
    named = pd.DataFrame(rows, columns=["path", "identity", "set"]).sort_values("path", ignore_index=True)
    return Crops(named, unnamed)


def choose_held_out(named: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The images of the people who are held out, by set: a share of LFW's people and some of pins.

    Shares are of people with several images and people with one alike, so that the held-out people are like the rest.
    People of pins who are in LFW too are not chosen: the sets stay apart.
    """
    lfw, pins = (named[named["set"] == kind].reset_index(drop=True) for kind in ("lfw", "pins"))
    own = lfw[["path", "identity"]]
    held = {"lfw": split_identities(own, (1 - HELD_OUT_SHARE, HELD_OUT_SHARE), SPLIT_SEED)[1]}
    in_lfw = {person_key(name) for name in lfw["identity"].unique()}
    free = sorted(name for name in pins["identity"].unique() if person_key(name) not in in_lfw)
    if len(free) <= HELD_OUT_PINS:
        raise DataError(f"pins: {len(free)} people who are not in LFW, too few to hold {HELD_OUT_PINS} of them out")
    chosen = pd.Series(free).sample(HELD_OUT_PINS, random_state=SPLIT_SEED)
    held["pins"] = pins.loc[pins["identity"].isin(chosen), ["path", "identity"]].reset_index(drop=True)
    return held


def shared_names(named: pd.DataFrame) -> dict[str, list[str]]:
    """Names that occur in several sets, by key; the same person in all likelihood, and treated as one."""
    people = named[["identity", "set"]].drop_duplicates()
    people = people.assign(key=people["identity"].map(person_key))
    several = people[people.groupby("key")["set"].transform("nunique") > 1]
    return {
        str(key): sorted(f"{kind}/{name}" for name, kind in part[["identity", "set"]].itertuples(index=False))
        for key, part in several.groupby("key")
    }


def _by_person(folder: Path) -> list[tuple[str, str]]:
    return [(path, path.partition("/")[0]) for path in sorted(walk_images(folder)) if "/" in path]
