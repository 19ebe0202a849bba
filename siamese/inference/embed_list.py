"""Which images are to be embedded: of a folder, a manifest, an image, or a text file that lists paths."""

import os
import re
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
from pyarrow import compute

from siamese.errors import DataError
from siamese.images.decode import SUFFIXES
from siamese.inference.image_source import COLUMNS, list_images
from siamese.pairing.arrow_columns import equals
from siamese.progress import log

# What the first line of a list may be instead of a path.
_HEADERS = ("path", "file", "filename", "image", "image_path")
_SUFFIX = "(?:" + "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES)) + ")"
_IMAGE = rf"(?i){_SUFFIX}$"
_TWO_IMAGES = rf"(?i){_SUFFIX}[ ,]+\S.*{_SUFFIX}$"
_PARQUET_MAGIC = b"PAR1"
# Lines of a list that are looked for, to find out what its relative paths start from.
_SAMPLE = 20
# Names hashed at a time.
_CHUNK = 65536


def images_to_embed(data: Path) -> pa.Table:
    """List the images of a folder (of any depth), a manifest, a single image, or a list of paths.

    A text file is a list of paths where its first line (after a header such as `path`, which is passed over) is the
    path of an image and nothing else; a manifest has an identity behind it, in a column or as a second field. The
    relative paths of a list start from its folder, or from the working folder where none of its first lines is found
    below the former.

    Returns:
        Columns `path` (the name, as `list_images` gives it; of a list the line itself), `file` (to open) and
        `identity` (null where it is not known), all text, in the order given.

    Raises:
        DataError: no images, neither file nor folder, a line of a list that names no image, or not one file of a list
            is there.
        ImageError: an image file that is not there.
    """
    lines = _lines_of_list(data)
    if lines is not None:
        return _of_list(data, lines)
    return list_images([data])


def images_digest(images: pa.Table) -> str:
    """SHA-256 over the names, files and identities of a list, in hexadecimal."""
    digest = sha256()
    for name in ("path", "file", "identity"):
        column = images.column(name)
        for start in range(0, len(column), _CHUNK):
            part = column.slice(start, _CHUNK)
            # A null is told from every text by what cannot be in a name.
            digest.update("\0".join(part.fill_null("\0").to_pylist()).encode())
            digest.update(b"\1")
    return digest.hexdigest()


def _lines_of_list(data: Path) -> list[str] | None:
    """All lines of a list of paths, header and blank ones included; None for anything else."""
    # Not of pathlib, which raises where a name is too long or a folder above may not be entered.
    if data.suffix.lower() in SUFFIXES or not os.path.isfile(data):  # noqa: PTH113
        return None
    try:
        with data.open("rb") as file:
            head = file.read(len(_PARQUET_MAGIC))
            content = "" if head == _PARQUET_MAGIC else (head + file.read()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):  # the reader of manifests says what is wrong
        return None
    lines = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    written = (line.strip() for line in lines if line.strip())
    first = next(written, "")
    if first.lower() in _HEADERS:
        first = next(written, "")
    alone = re.search(_IMAGE, first) and "\t" not in first and not re.search(_TWO_IMAGES, first)
    return lines if alone else None


def _of_list(data: Path, lines: list[str]) -> pa.Table:
    trimmed = compute.utf8_trim_whitespace(pa.array(lines, pa.string()))
    numbers = pa.array(range(1, len(trimmed) + 1), pa.int64())
    written = compute.invert(equals(trimmed, ""))
    paths, numbers = trimmed.filter(written), numbers.filter(written)
    if paths[0].as_py().lower() in _HEADERS:
        paths, numbers = paths[1:], numbers[1:]
    named = compute.match_substring_regex(paths, _IMAGE)
    if not compute.all(named).as_py():
        first = compute.index(named, False).as_py()
        expected = f"expected one path a line, ending in {', '.join(sorted(SUFFIXES))}; for a manifest, PATH LABEL"
        raise DataError(f"{data} line {numbers[first]}: {paths[first].as_py()[:200]!r} names no image; {expected}")
    names = paths.to_pylist()
    root = _root_of(data, names)
    files = [str(root / name) for name in names]
    if not any(os.path.exists(file) for file in files):  # noqa: PTH110 - a name may be too long
        raise DataError(
            f"{data}: not one of its {len(files):,} images is there, the first is {files[0]}; relative paths start "
            f"from {root.absolute()} or from where the command runs"
        )
    log.info("%s: recognised as a list of %s paths", data, f"{len(names):,}")
    return pa.Table.from_arrays(
        [paths, pa.array(files, pa.string()), pa.nulls(len(files), pa.string())], names=list(COLUMNS)
    )


def _root_of(data: Path, names: list[str]) -> Path:
    """What relative paths start from; `find . > list.txt` writes those of the working folder."""
    here, working = data.parent, Path()
    for root in (here, working):
        if any(os.path.exists(root / name) for name in names[:_SAMPLE]):  # noqa: PTH110
            return root
    return here
