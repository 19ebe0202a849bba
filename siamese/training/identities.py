"""Whom the images of a pair file show: from the file, from the folders they lie in, or from the pairs themselves."""

from pathlib import Path

import numpy as np
import pandas as pd

from siamese.errors import DataError
from siamese.images.catalog import Catalog, read_catalog
from siamese.pairing.closure import PairIndex, pseudo_identities, word_conflict
from siamese.progress import log

# The positive of a triplet is of the anchor's identity.
_NAMED = {
    "left": "left_identity",
    "right": "right_identity",
    "anchor": "anchor_identity",
    "positive": "anchor_identity",
    "negative": "negative_identity",
    "negative2": "negative2_identity",
}


def identities_of(table: pd.DataFrame, root: Path, where: str, data: Path, identity_depth: int) -> Catalog:
    """A catalog of the images that a table of pairs or triplets names.

    Identities are taken from the table's identity columns; else from the folders or the manifest; where those do not
    name every image, or say otherwise than the labels, genuine pairs are closed transitively into identities, and
    images that no chain of genuine pairs joins are taken for different identities.

    Args:
        table: checked pairs or triplets, with labels.
        root: what its paths are relative to.
        where: the file, for messages.
        data: the folder or manifest that may know identities.
        identity_depth: levels of folders that name an identity.

    Raises:
        DataError: the pairs close into fewer than two identities.
    """
    index = PairIndex.of(table)
    for source, found in (("its own columns", _of_columns(table)), ("folders", _of_data(data, identity_depth))):
        if found is None:
            continue
        identity = found.reindex(pd.Index(index.paths))
        reason = _disagreement(index, identity.to_numpy(dtype=object))
        if reason is None:
            images = pd.DataFrame({"path": index.paths, "identity": identity.to_numpy()}, dtype=str)
            return Catalog(root, images.sort_values("path", ignore_index=True))
        log.info("%s: identities are not taken from %s: %s", where, source, reason)
    return _closed(table, root, where)


def _of_columns(table: pd.DataFrame) -> "pd.Series[str] | None":
    """Identity by path, as the identity columns of the table have it."""
    columns = [(path, name) for path, name in _NAMED.items() if {path, name} <= set(table.columns)]
    if not columns:
        return None
    parts = [pd.Series(table[name].to_numpy(dtype=object), index=table[path].to_numpy()) for path, name in columns]
    known = pd.concat(parts).dropna()
    return known[~known.index.duplicated()]


def _of_data(data: Path, identity_depth: int) -> "pd.Series[str] | None":
    """Identity by path, as the folders or the manifest have it; None where there are no such."""
    try:
        images = read_catalog(data, identity_depth=identity_depth, check=False).images
    except DataError:  # a folder without identity folders, or a pair file: the pairs alone must do
        return None
    return images.set_index("path")["identity"]


def _disagreement(index: PairIndex, identity: np.ndarray) -> str | None:
    """Why identities do not fit the pairs; None when they do."""
    unknown = pd.isna(identity)
    if unknown.any():
        return f"{int(unknown.sum())} of {len(unknown)} images are in none, such as {index.paths[unknown.argmax()]}"
    alike = identity[index.left] == identity[index.right]
    wrong = index.labelled & (alike != index.same)
    if wrong.any():
        said = "genuine" if index.same[wrong.argmax()] else "impostor"
        return f"{index.row(int(wrong.argmax()))} is {said} against them, and {int(wrong.sum()) - 1} others"
    return None


def _closed(table: pd.DataFrame, root: Path, where: str) -> Catalog:
    closure = pseudo_identities(table, explained=3)
    images = closure.catalog
    count = images["identity"].nunique()
    if count < 2:
        raise DataError(f"{where}: genuine pairs join all its {len(images)} images; add impostor pairs of others")
    log.info("%s: genuine pairs join %d images into %d identities", where, len(images), count)
    if closure.total_conflicts:
        log.warning("%s: %d impostor pairs contradict the genuine ones:", where, closure.total_conflicts)
    for conflict in closure.conflicts:
        log.warning("  %s", word_conflict(table, conflict))
    return Catalog(root, images.sort_values("path", ignore_index=True))
