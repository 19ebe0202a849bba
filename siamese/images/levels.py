"""What the folders of a path say: which is the identity, and which lie above and below it."""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import compute

from siamese.images.labels import TEXT
from siamese.progress import log


def identity_levels(paths: "pd.Series[str]", below: "pd.Series[str]", depth: int) -> pd.DataFrame:
    """Identity and inner folder of each image, from its path below the split; without those outside an identity."""
    pattern = rf"(?s)^(?P<identity>(?:[^/]+/){{{depth - 1}}}[^/]+)/(?:(?P<folder>[^/]+)/.*|[^/]+)$"
    table = named_fields(below, pattern)
    table.insert(0, "path", paths)
    table = table.dropna(subset=["identity"])
    return table.assign(folder=table["folder"].mask(table["folder"] == "", "."))


def first_folders(paths: "pd.Series[str]") -> list[str]:
    """The names of the folders at the top of `paths`, each once; images that lie in none have no part in it."""
    rows = pa.array(paths, pa.string())
    parts = compute.split_pattern(rows.filter(compute.match_substring(rows, "/")), "/", max_splits=1)
    folders: list[str] = compute.unique(compute.list_element(parts, 0)).to_pylist()
    return folders


def hint_depth(data: Path, below: "pd.Series[str]", depth: int) -> None:
    """Warn when no image lies directly in an identity folder: then the identities may be one level deeper."""
    if below.str.count("/").min() <= depth:
        return
    first, deeper = (identity_levels(below, below, levels)["identity"].nunique() for levels in (depth, depth + 1))
    log.warning(
        "%s: no image lies directly in its %d identity folders; if the %d folders below them are the identities, "
        "give --identity-depth %d",
        *(data, first, deeper, depth + 1),
    )


def named_fields(texts: "pd.Series[str]", pattern: str) -> pd.DataFrame:
    """The named groups of a pattern (RE2), NaN where it does not match and "" where a group has no part in it."""
    found = compute.extract_regex(pa.array(texts, pa.string()), pattern)
    names = re.findall(r"\(\?P<(\w+)>", pattern)
    table = pd.DataFrame({name: compute.struct_field(found, name).to_pandas() for name in names}, dtype=TEXT)
    return table.set_index(texts.index)
