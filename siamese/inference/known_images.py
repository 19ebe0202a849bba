"""Images whose identity is known, and what else is known of them: their group, and who made them."""

from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.images.catalog import read_catalog
from siamese.images.loader import Outcome
from siamese.progress import log

# Columns of a manifest that name the group of an image; the first that is there.
GROUP_COLUMNS = ("group", "alphabet")
DRAWER_COLUMN = "drawer"
# Omniglot's names: number of the character, number of the drawer.
_OMNIGLOT_NAME = r"^(?:.*/)?(?P<character>[0-9]{4})_(?P<drawer>[0-9]{2})\.[^./]+$"


def known_images(data: Path, *, identity_depth: int = 1) -> pd.DataFrame:
    """List the images of a folder of identities or of a manifest.

    Args:
        data: the folder or the manifest.
        identity_depth: levels of folders that name an identity.

    Returns:
        A row per image, sorted by path: `path` (relative to the data), `file` (to open, as text), `identity` and the
        other columns of a manifest or a layout. Nothing was opened.

    Raises:
        DataError: nothing there, no identities, or no images.
    """
    catalog = read_catalog(data, identity_depth=identity_depth, check=False)
    files = [str(catalog.root / path) for path in catalog.images["path"]]  # a Path takes several times the memory
    return catalog.images.assign(file=files).reset_index(drop=True)


def check_any_usable(data: Path, failures: list[tuple[str, Outcome]], images: int) -> None:
    """Warn of images that could not be embedded.

    Args:
        data: where they are from, for messages.
        failures: name of each, and what happened.
        images: how many there are, those included.

    Raises:
        DataError: all of them.
    """
    if not failures:
        return
    name, outcome = failures[0]
    first = f"first: {name} ({outcome.detail})"
    if len(failures) == images:
        raise DataError(f"{data}: none of {images} images can be embedded; {first}")
    log.warning("%s: %d of %d images could not be embedded and are left out; %s", data, len(failures), images, first)


def groups_of(table: pd.DataFrame, identity_depth: int) -> tuple[NDArray[Any] | None, str | None]:
    """The group of each image, shape (N,), and where it is from; None and None where there are no groups.

    Args:
        table: as `known_images` gives it.
        identity_depth: with 2 or more, the first folder of an identity is its group, unless a column names groups.

    Returns:
        The groups, and the column or `folders`.
    """
    for column in GROUP_COLUMNS:
        if column in table.columns:
            return table[column].to_numpy(dtype=object), column
    if identity_depth >= 2:
        return table["identity"].str.partition("/")[0].to_numpy(dtype=object), "folders"
    return None, None


def drawers_of(table: pd.DataFrame) -> tuple[NDArray[Any] | None, str | None]:
    """Who drew each image, shape (N,), and where that is from: `drawer` (a column), `file names`; else None twice.

    File names tell it where all of them are as Omniglot's, `0965_01.png`, and the first number is one for each
    identity, and of no other: in a set that is numbered in this form by chance it is not.
    """
    if DRAWER_COLUMN in table.columns:
        return table[DRAWER_COLUMN].to_numpy(dtype=object), DRAWER_COLUMN
    names = table["path"].str.extract(_OMNIGLOT_NAME)
    if names.isna().to_numpy().any():
        return None, None
    characters = pd.DataFrame({"identity": table["identity"], "character": names["character"]}).drop_duplicates()
    if characters["identity"].duplicated().any() or characters["character"].duplicated().any():
        return None, None
    return names["drawer"].to_numpy(dtype=object), "file names"
