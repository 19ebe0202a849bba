"""Photographs in ISO base media files (HEIC, AVIF): known by their brands, read with an addition to Pillow."""

import importlib
from typing import Literal

# The first box of a file is `ftyp`: its major brand, a version, then the brands it is compatible with (ISO/IEC
# 14496-12, 4.3). Those of HEIC are in ISO/IEC 23008-12, B.4; those of AVIF in its own specification.
HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
# Any coding: phones write it as the major brand of what is HEIC.
GENERAL_BRANDS = frozenset((b"mif1", b"msf1"))
# What `kind_of_container` needs to see of a file.
HEAD = 256

ADVICE = {
    "HEIC": "a HEIC photograph: pip install pillow-heif, or convert it to JPEG",
    "AVIF": "an AVIF image, which this Pillow does not read: update Pillow, or convert the image to JPEG or PNG",
}


def kind_of_container(head: bytes) -> Literal["HEIC", "AVIF"] | None:
    """Which of the two formats a file is of, by its first `HEAD` bytes; None for anything else."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    # Bytes 12 to 16 are the version of the major brand.
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4))}
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & (HEIC_BRANDS | GENERAL_BRANDS) else None


def add_heic_reader() -> bool:
    """Let Pillow read HEIC through the package pillow-heif, if it is installed; it is imported at first need."""
    try:
        package = importlib.import_module("pillow_heif")
    except ImportError:
        return False
    package.register_heif_opener()
    return True
