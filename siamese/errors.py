"""Errors a user can cause and mend.

Every message is one line that names the file, row or option, what was found, what was expected, and what to do.
The command line prints it and exits with code 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SiameseError(Exception):
    """A failure caused by input or options, with a message fit for the person who caused it."""


class OptionError(SiameseError):
    """An option or a name has a value that is not known or not possible."""


class DataError(SiameseError):
    """A folder, manifest or split cannot give what was asked of it."""


class PairFileError(SiameseError):
    """A pair or triplet file is missing, malformed, or names what does not exist."""


class ImageError(SiameseError):
    """A file cannot be read as an image."""


class FaceError(SiameseError):
    """No usable face where one is needed."""


class WeightsError(SiameseError):
    """Encoder weights are missing, changed, or of another layout."""


class ModelError(SiameseError):
    """A model folder is missing, incomplete or changed."""


class DeviceError(SiameseError):
    """The device asked for is not there."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> OptionError:
    """The error for a name that is in no registry: it offers the nearest one and lists the known ones.

    Args:
        kind: what the name stands for, in the user's words ("loss", "encoder").
        name: what was given.
        known: the names that exist.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return OptionError(f"unknown {kind} {name!r}: {hint}known: {', '.join(names)}")
