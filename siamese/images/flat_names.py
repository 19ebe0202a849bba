"""Names for images written flat, as IDENTITY/name.ext: safe on every file system, each given once."""

import re
import unicodedata
from hashlib import blake2b

import pandas as pd

# What some file system or shell takes for more than a letter.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
# Bytes; file systems take 255, and a number or a temporary name may be added.
_LONGEST = 200


def flat_paths(images: pd.DataFrame) -> "pd.Series[str]":
    """The path IDENTITY/name.ext of each image, each path once whatever the file system makes of case.

    The name is what follows the identity's folder in the old path, its parts joined by `_`; without such a folder,
    the last part. Names depend on `images` and the order of its rows alone: the first to claim one keeps it, the
    next gets `-2` before its suffix, and so on.

    Args:
        images: columns `path` and `identity`.

    Example:
        >>> flat_paths(pd.DataFrame({"path": ["train/anna/blur/1.jpg"], "identity": ["anna"]}))[0]
        'anna/blur_1.jpg'
    """
    codes, identities = pd.factorize(images["identity"])
    folders = _each_once(pd.Series([safe_name(str(identity)) for identity in identities], dtype=object))
    columns = [images[name].tolist() for name in ("path", "identity")]
    # One pass of text in Python: no table operation cuts each row by another column.
    names = [_name_of(path, identity) for path, identity in zip(*columns, strict=True)]
    paths = folders.to_numpy()[codes] + "/" + pd.Series(names, dtype=object).to_numpy()
    return _each_once(pd.Series(paths, index=images.index, dtype=object)).astype(images["path"].dtype)


def safe_name(text: str) -> str:
    """The nearest name to `text` that serves as one part of a path: never empty, hidden, or longer than 200 bytes."""
    name = _UNSAFE.sub("_", text).rstrip(". ")
    if not name or name.startswith("."):
        name = f"_{name.lstrip('.')}"
    if len(name.encode()) <= _LONGEST:
        return name
    stem, dot, suffix = name.rpartition(".")
    suffix = f"{dot}{suffix}" if stem and len(suffix.encode()) <= 10 else ""
    digest = blake2b(name.encode(), digest_size=6).hexdigest()
    return name.encode()[: _LONGEST - 40].decode(errors="ignore").rstrip(". ") + f"-{digest}{suffix}"


def _name_of(path: str, identity: str) -> str:
    _, found, inside = f"/{path}".partition(f"/{identity}/")
    return safe_name(inside.replace("/", "_")) if found and inside else safe_name(path.rpartition("/")[2])


def _each_once(names: "pd.Series[str]") -> "pd.Series[str]":
    """Number what is there already, until each name is given once."""
    while True:
        # Case and Unicode form are one on some file systems.
        keys = names.map(lambda name: unicodedata.normalize("NFC", name).casefold())
        taken = keys.groupby(keys).cumcount()
        again = names[taken > 0]
        if again.empty:
            return names
        parts = again.str.extract(r"(?s)^(.*?)(\.[^./]*)?$").fillna("")
        names = names.copy()
        names[again.index] = parts[0] + "-" + (taken[again.index] + 1).astype(str) + parts[1]
