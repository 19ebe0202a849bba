"""Images whose identities a list beside them gives: `labels.txt`."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from siamese.errors import DataError
from siamese.images.labels import TEXT
from siamese.images.layouts import LABELS
from siamese.images.manifest import one_identity_each, read_labels
from siamese.progress import log


def labelled_images(data: Path, prefix: str, paths: pa.Array) -> pa.Table | None:
    """The images below a folder and the identities that its `labels.txt` gives them.

    Args:
        data: the root of the paths.
        prefix: of the folder that holds the list, below `data`; ended by a slash, or empty.
        paths: of the images, relative to `data`.

    Returns:
        Columns `path` and `identity`; None where the list holds no labels.

    Raises:
        DataError: the list is wrong, or names none of the images.
    """
    where = data / prefix / LABELS
    labels = read_labels(where)
    if labels is None:
        return None
    images = pd.Series(paths.to_pandas(), dtype=TEXT)
    given = labels["path"].str.removeprefix("./")
    resolved = pd.Series(pd.NA, index=labels.index, dtype=object)
    # A name alone is of images/; other paths start at the folder of the list, or at the one above it.
    for start in (f"{prefix}images/", prefix, prefix.rpartition("/")[0].rpartition("/")[0] + "/"):
        candidates = start.lstrip("/") + given
        resolved = resolved.where(resolved.notna() | ~candidates.isin(images), candidates)
    lost = resolved.isna()
    if lost.all():
        first = labels["path"].iloc[0]
        raise DataError(f"{where}: none of its {len(labels)} paths is an image beside it; the first is {first!r}")
    if lost.any():
        first = labels["path"][lost].iloc[0]
        log.warning("%s: %d paths name no image, the first is %r", where, int(lost.sum()), first)
    table = labels.assign(path=resolved)[~lost].astype(TEXT)
    table = one_identity_each(table, str(where), "line")
    if len(table) < len(images):
        log.warning("%s: %d images have no label, left out", where.parent, len(images) - len(table))
    return pa.table({name: pa.array(table[name].tolist(), pa.string()) for name in ("path", "identity")})
