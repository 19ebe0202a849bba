"""Images to learn from whether or not it is known whom they show."""

from pathlib import Path

import pandas as pd

from siamese.errors import DataError
from siamese.images.catalog import Catalog, read_catalog
from siamese.images.manifest import UNKNOWN, read_manifest
from siamese.images.walk import report_left_out, unreadable_images, walk_images
from siamese.progress import log


def read_images(data: Path, *, identity_depth: int = 1) -> Catalog:
    """Catalog a folder or a manifest as `read_catalog` does, and keep images whose identity is not known.

    A folder without identity folders is one of such images, wherever below it they lie; in a manifest they have an
    empty identity.

    Args:
        data: the folder or the manifest.
        identity_depth: levels of folders that name an identity, at least 1.

    Returns:
        The catalog; an identity that is not known is `UNKNOWN`.

    Raises:
        DataError: as `read_catalog`, and where there are no images at all.
    """
    if data.is_file():
        listed = read_manifest(data, unlabelled=True)
        catalog = Catalog(listed.root, listed.images, layout=listed.layout)
        unknown = int((catalog.images["identity"] == UNKNOWN).sum())
        log.info("%s: %d images listed, %d of them without an identity", data, len(catalog.images), unknown)
        return catalog
    try:
        return read_catalog(data, identity_depth=identity_depth)
    except DataError as reason:
        paths = sorted(walk_images(data)) if data.is_dir() else []
        if not paths:
            raise
        unreadable = tuple(unreadable_images(data, paths))
        lost = {path for path, _ in unreadable}
        images = pd.DataFrame({"path": [path for path in paths if path not in lost], "identity": UNKNOWN}, dtype=str)
        if images.empty:
            raise
        log.info("%s: %d images of nobody known (%s)", data, len(images), reason)
        report_left_out(unreadable)
        return Catalog(data, images, unreadable, "images without identities")
