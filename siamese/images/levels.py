"""What the folders of a path say: which is the identity, and which lie above and below it."""

import re
from pathlib import Path

import pyarrow as pa
from pyarrow import compute

from siamese.pairing.arrow_columns import equals, text
from siamese.progress import log


def identity_levels(paths: pa.Array, below: pa.Array, depth: int) -> pa.Table:
    """Identity and inner folder of each image, from its path below the split; without those outside an identity.

    Args:
        paths: of the images.
        below: the same paths below the split.
        depth: levels of folders that name an identity.

    Returns:
        Columns `path`, `below`, `identity` and `folder` ("." where an image lies directly in its identity folder).
    """
    pattern = rf"(?s)^(?P<identity>(?:[^/]+/){{{depth - 1}}}[^/]+)/(?:(?P<folder>[^/]+)/.*|[^/]+)$"
    fields = named_fields(below, pattern)
    folder = fields["folder"]
    folder = compute.if_else(equals(folder, ""), text(".", folder.type), folder)
    table = pa.table({"path": paths, "below": below, "identity": fields["identity"], "folder": folder})
    return table.filter(compute.is_valid(table["identity"]))


def first_folders(paths: pa.Array) -> list[str]:
    """The names of the folders at the top of `paths`, each once; images that lie in none have no part in it."""
    folders: list[str] = compute.unique(named_fields(paths, "(?s)^(?P<top>[^/]+)/")["top"].drop_null()).to_pylist()
    return folders


def hint_depth(data: Path, below: pa.Array, depth: int) -> None:
    """Warn when no image lies directly in an identity folder: then the identities may be one level deeper."""
    if compute.min(compute.count_substring(below, "/")).as_py() <= depth:
        return
    tables = (identity_levels(below, below, levels) for levels in (depth, depth + 1))
    first, deeper = (compute.count_distinct(table["identity"]).as_py() for table in tables)
    log.warning(
        "%s: no image lies directly in its %d identity folders; if the %d folders below them are the identities, "
        "give --identity-depth %d",
        *(data, first, deeper, depth + 1),
    )


def named_fields(texts: pa.Array, pattern: str) -> dict[str, pa.Array]:
    """The named groups of a pattern (RE2), null where it does not match and "" where a group has no part in it."""
    found = compute.extract_regex(texts, pattern)
    return {name: compute.struct_field(found, name) for name in re.findall(r"\(\?P<(\w+)>", pattern)}


def parent_of(path: Path) -> Path:
    """The folder that holds `path`, also where the path as written does not say which that is."""
    return path.parent if path.name not in ("", "..") else path.resolve().parent
