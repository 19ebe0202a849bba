"""The images that a command is given: files, folders and manifests, with whom they show where that is known."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from siamese.errors import DataError, ImageError
from siamese.images.catalog import read_catalog, root_of, walk_images
from siamese.images.decode import SUFFIXES


def list_images(data: Sequence[Path], *, identity_depth: int = 1) -> pd.DataFrame:
    """List the images of files, folders (of any depth) and manifests.

    Args:
        data: what was given. The images of a single folder or manifest are named relative to it, all others as given.
        identity_depth: levels of folders that name an identity.

    Returns:
        Columns `path` (the name), `file` (to open, as text) and `identity` (as the layout or the manifest has it;
        missing where it is not known), in the order given.

    Raises:
        DataError: no images, or neither file nor folder.
        ImageError: an image file that is not there.
    """
    tables = [_of_one(source, identity_depth, relative=len(data) == 1) for source in data]
    if not tables:
        raise DataError("no images given; name image files, a folder or a manifest")
    return pd.concat(tables, ignore_index=True)


def _of_one(source: Path, identity_depth: int, *, relative: bool) -> pd.DataFrame:
    if source.suffix.lower() in SUFFIXES and not source.is_dir():
        if not source.exists():
            raise ImageError(f"{source}: no such image file")
        return pd.DataFrame(
            {"path": [str(source)], "file": [str(source)], "identity": pd.Series([None], dtype=object)}
        )
    root, images = _listing(source, identity_depth)
    files = [str(root / path) for path in images["path"]]  # a Path takes several times the memory
    names = images["path"].tolist() if relative else files
    return pd.DataFrame({"path": names, "file": files, "identity": images["identity"].astype(object).to_numpy()})


def _listing(data: Path, identity_depth: int) -> tuple[Path, pd.DataFrame]:
    """The root, and every image below a folder or in a manifest."""
    if not data.is_dir() or root_of(data) != data:
        catalog = read_catalog(data, identity_depth=identity_depth, check=False)
        return catalog.root, catalog.images
    paths = sorted(walk_images(data))
    if not paths:
        raise DataError(f"{data}: no images below it")
    try:
        known = read_catalog(data, identity_depth=identity_depth, check=False).images.set_index("path")["identity"]
    except DataError:  # images that lie loose: nobody is known
        known = pd.Series(dtype=str)
    return data, pd.DataFrame({"path": paths, "identity": known.reindex(paths).to_numpy()})
