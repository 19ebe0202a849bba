"""Which images there are, and whom each shows."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from siamese.errors import DataError, unknown_name
from siamese.images.layouts import LAYOUTS, SPLITS, SPLITS_SHOWN, celeba_list, describe_layout, recognise
from siamese.images.manifest import read_manifest
from siamese.images.walk import report_left_out, unreadable_images, walk_images
from siamese.progress import log

__all__ = ["LAYOUTS", "Catalog", "read_catalog", "report_left_out", "root_of", "walk_images"]


@dataclass(frozen=True)
class Catalog:
    """Images grouped by identity.

    Attributes:
        root: the folder that paths are relative to.
        images: columns `path` (POSIX, relative to `root`) and `identity`, sorted by path; then group columns of
            text: `split` (train, val, test) where the layout has splits, `folder` (the first folder below the
            identity, "." for none) where an image lies deeper than its identity folder, and the other columns of a
            manifest (empty cells are missing).
        unreadable: path and reason of every file that was left out.
        layout: how the images lay, one of `LAYOUTS`.
        pair_files: pair lists that belong to the layout; found, not read.
    """

    root: Path
    images: pd.DataFrame
    unreadable: tuple[tuple[str, str], ...] = ()
    layout: str = "identity folders"
    pair_files: tuple[Path, ...] = ()

    @property
    def identities(self) -> int:
        """How many identities there are."""
        return int(self.images["identity"].nunique())

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that images belong to: train, val and test first, others by name; none without such a column."""
        if "split" not in self.images.columns:
            return ()
        found = {str(name) for name in self.images["split"].dropna().unique()}
        return (*(name for name in SPLITS if name in found), *sorted(found - set(SPLITS)))

    def of_split(self, name: str) -> "Catalog":
        """Keep only the images of one split.

        Raises:
            OptionError: there is no such split; the message lists those there are.
            DataError: the catalog has no splits.
        """
        if not self.splits:
            raise DataError(f"{self.root}: has no splits, so no {name!r} (layout: {self.layout})")
        if name not in self.splits:
            raise unknown_name("split", name, self.splits)
        kept = self.images[self.images["split"] == name].reset_index(drop=True)
        return replace(self, images=kept)

    def restricted_to(self, listing: Path) -> "Catalog":
        """Keep only the identities named in a text file.

        One identity a line; a tab and what follows it is ignored, and so is a line that names no identity, so
        LFW's `people*.txt` files, which hold counts as well, serve as they are.

        Raises:
            DataError: the file is missing or names no identity of this catalog.
        """
        try:
            lines = listing.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{listing}: cannot be read as a list of identities ({error})") from error
        names = {line.split("\t")[0].strip() for line in lines} - {""}
        kept = self.images[self.images["identity"].isin(names)].reset_index(drop=True)
        if kept.empty:
            raise DataError(f"{listing}: none of its {len(names)} lines names an identity of {self.root}")
        return replace(self, images=kept)


def read_catalog(data: Path, *, identity_depth: int = 1, check: bool = True) -> Catalog:
    """Catalog a folder in any of the layouts of `LAYOUTS`, or a manifest; the layout is recognised and logged.

    In a folder of identity folders, the first `identity_depth` levels of folders name the identity (below the split,
    where folders are splits); whatever lies deeper belongs to it (a `distortion/` folder, sessions, videos). Files
    that are no images by suffix are ignored; files that cannot be images (empty, another format) are left out, named
    and counted, and so are images whose identity is not known.

    A manifest lists paths and identities, see `read_manifest`; its images need not exist.

    Args:
        data: the folder or the manifest.
        identity_depth: levels of folders that name an identity, at least 1.
        check: open every file of a folder to see that it is an image (header only).

    Raises:
        DataError: nothing there, no identity folders, no images, or a manifest or a list of labels that is wrong.

    Example:
        >>> read_catalog(Path("faces")).identities  # doctest: +SKIP
        40
    """
    if identity_depth < 1:
        raise DataError(f"--identity-depth {identity_depth}: expected 1 or more")
    # Not of pathlib, which raises where a name is too long or a folder above may not be entered.
    if os.path.isfile(data):  # noqa: PTH113
        listing: Path | None = data
    elif not os.path.isdir(data):  # noqa: PTH112
        raise DataError(f"{data}: no such folder or manifest; expected a folder of identity folders")
    else:
        listing = celeba_list(data)
    catalog = _of_folder(data, identity_depth, check) if listing is None else _of_manifest(listing)
    log.info("%s: %s", data if listing is None else listing, _described(catalog))
    return catalog


def root_of(data: Path) -> Path:
    """The folder that paths of `data` are relative to: of a folder itself, of a list of images or pairs its own.

    CelebA is distributed with the list in one folder and the images in another: then it is the folder of both.
    """
    listing = data if data.is_file() else celeba_list(data)
    if listing is None:
        return data
    try:
        return read_manifest(listing).root
    except DataError:  # no list of images: a pair file, perhaps
        return listing.parent


def _of_manifest(listing: Path) -> Catalog:
    found = read_manifest(listing)
    return Catalog(found.root, found.images, layout=found.layout)


def _of_folder(data: Path, identity_depth: int, check: bool) -> Catalog:
    found = recognise(data, sorted(walk_images(data)), identity_depth)
    images = found.images.to_pandas()
    unreadable = tuple(unreadable_images(data, images["path"].tolist())) if check else ()
    if unreadable:
        images = images[~images["path"].isin([path for path, _ in unreadable])].reset_index(drop=True)
    if images.empty:
        number = len(found.images)
        raise DataError(f"{data}: none of {number} image files can be read; first: {unreadable[0][1]}")
    report_left_out(unreadable)
    return Catalog(data, images, unreadable, found.layout, found.pair_files)


def _described(catalog: Catalog) -> str:
    splits = {name: int((catalog.images["split"] == name).sum()) for name in catalog.splits[:SPLITS_SHOWN]}
    return describe_layout(catalog.layout, len(catalog.images), catalog.identities, splits, catalog.pair_files)
