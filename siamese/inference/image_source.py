"""The images that a command is given: files, folders and manifests, with whom they show where that is known."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import compute

from siamese.errors import DataError, ImageError
from siamese.images.decode import SUFFIXES
from siamese.images.layouts import celeba_list, recognise
from siamese.images.walk import walk_images
from siamese.progress import log

COLUMNS = ("path", "file", "identity")


def list_images(data: Sequence[Path], *, identity_depth: int = 1) -> pa.Table:
    """List the images of files, folders (of any depth) and manifests.

    Args:
        data: what was given. The images of a single folder or manifest are named relative to it, all others as given.
        identity_depth: levels of folders that name an identity.

    Returns:
        Text columns `path` (the name), `file` (to open) and `identity` (as the layout or the manifest has it; null
        where it is not known), in the order given.

    Raises:
        DataError: no images, or neither file nor folder; an identity depth below 1.
        ImageError: an image file that is not there.
    """
    if identity_depth < 1:
        raise DataError(f"--identity-depth {identity_depth}: expected 1 or more")
    tables = [_of_one(source, identity_depth, relative=len(data) == 1) for source in data]
    if not tables:
        raise DataError("no images given; name image files, a folder or a manifest")
    return pa.concat_tables(tables).combine_chunks()


def _of_one(source: Path, identity_depth: int, *, relative: bool) -> pa.Table:
    if source.suffix.lower() in SUFFIXES and not source.is_dir():
        if not source.exists():
            raise ImageError(f"{source}: no such image file")
        return _table([str(source)], [str(source)], [None])
    root, paths, identities = _listing(source, identity_depth)
    files = [str(root / path) for path in paths]  # a Path takes several times the memory
    return _table(paths if relative else files, files, identities)


def _table(paths: Sequence[str], files: Sequence[str], identities: Sequence[str | None] | pa.Array) -> pa.Table:
    try:
        columns = [pa.array(column, pa.string()) for column in (paths, files, identities)]
    except UnicodeEncodeError as error:
        raise ImageError(f"{error.object!a}: the name is not valid UTF-8; rename it") from None
    return pa.Table.from_arrays(columns, names=list(COLUMNS))


def _listing(data: Path, identity_depth: int) -> tuple[Path, list[str], pa.Array]:
    """The root, and paths and identities of every image below a folder or in a manifest."""
    listed = not data.is_dir() or celeba_list(data) is not None
    if listed and _lies_elsewhere(data):
        root, images = _catalogued(data, identity_depth)
        return root, images["path"].to_pylist(), images["identity"].combine_chunks()
    paths = sorted(walk_images(data))
    if not paths:
        raise DataError(f"{data}: no images below it")
    try:
        known = _catalogued(data, identity_depth)[1] if listed else _laid_out(data, paths, identity_depth)
    except DataError:  # images that lie loose: nobody is known
        return data, paths, pa.nulls(len(paths), pa.string())
    rows = compute.index_in(pa.array(paths, pa.string()), value_set=known["path"].combine_chunks())
    return data, paths, known["identity"].combine_chunks().take(rows)


def _laid_out(data: Path, paths: list[str], identity_depth: int) -> pa.Table:
    layout = recognise(data, paths, identity_depth)
    log.info("%s: %s", data, layout.described())
    return layout.images


def _catalogued(data: Path, identity_depth: int) -> tuple[Path, pa.Table]:
    """Root, paths and identities of a list; through pandas, which files and folders alone do without."""
    from siamese.images.catalog import read_catalog

    catalog = read_catalog(data, identity_depth=identity_depth, check=False)
    columns = {name: pa.array(catalog.images[name].tolist(), pa.string()) for name in ("path", "identity")}
    return catalog.root, pa.table(columns)


def _lies_elsewhere(data: Path) -> bool:
    """Whether `data` is a list itself, or a folder whose list names images of another one."""
    from siamese.images.catalog import root_of

    return not data.is_dir() or root_of(data) != data
