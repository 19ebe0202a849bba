"""Where files are kept that can be had again: downloaded weights, decoded images."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$SIAMESE_CACHE`, `$XDG_CACHE_HOME/siamese`, or `~/.cache/siamese`."""
    if own := os.environ.get("SIAMESE_CACHE"):
        return Path(own).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "siamese"
    return Path.home() / ".cache" / "siamese"
