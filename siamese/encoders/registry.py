"""Encoders by name: `NAME`, `NAME@TAG` or `NAME@FILE`.

Imports no torch before an encoder is built.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.encoders.weights import (
    ENTRIES,
    WeightsRecord,
    fetch,
    find_entry,
    record_of,
    record_of_file,
)
from siamese.errors import OptionError, unknown_name

if TYPE_CHECKING:
    from siamese.encoders.encoder import Encoder
    from siamese.images.input_spec import InputSpec

TIMM = "timm/"
RANDOM = "random"
WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors", ".bin")

Size = tuple[int, int] | None


def _inception_resnet_v1(size: Size) -> "Encoder":
    from siamese.encoders.inception_resnet import InceptionResnetEncoder

    return InceptionResnetEncoder(size)


def _mobilefacenet(size: Size, name: str = "mobilefacenet") -> "Encoder":
    from siamese.encoders.mobilefacenet import MobileFaceNet

    return MobileFaceNet(size, name)


BUILDERS: dict[str, Callable[[Size], "Encoder"]] = {
    "inception_resnet_v1": _inception_resnet_v1,
    "mobilefacenet": _mobilefacenet,
    "mobilefacenet_ca": partial(_mobilefacenet, name="mobilefacenet_ca"),
    "mobilefacenet_cbam": partial(_mobilefacenet, name="mobilefacenet_cbam"),
}
ALIASES = {"convnext_atto": "timm/convnext_atto"}


def create_encoder(name: str, *, input_size: Size = None) -> "Encoder":
    """Build an encoder with its weights.

    Args:
        name: `NAME`, `NAME@TAG` (`@random` for random weights) or `NAME@FILE`, where NAME is
            `inception_resnet_v1`, `mobilefacenet`, `mobilefacenet_ca`, `mobilefacenet_cbam`, `convnext_atto`, or
            any `timm/NAME` or `timm/NAME.TAG`.
            What follows the first `@` is a file if there is one of that name, or if it looks like a path.
        input_size: height and width in pixels, instead of the encoder's own.

    Raises:
        OptionError: the encoder, the tag or the size is not possible.
        WeightsError: the weights are missing, changed, of another layout, or cannot be downloaded.

    Example:
        >>> create_encoder("mobilefacenet@random").feature_dim
        128
    """
    _check_size(input_size)
    base, at, rest = name.partition("@")
    if at and not rest:
        raise OptionError(f"encoder {name!r}: nothing follows @; expected {base}@TAG, {base}@FILE or {base}")
    if ALIASES.get(base, base).startswith(TIMM):
        return _create_timm(base, rest, input_size)
    return _create_named(base, rest, input_size)


def create_untrained(name: str, input_spec: "InputSpec | None" = None) -> "Encoder":
    """Build an encoder with random weights, to be filled from elsewhere; never downloads.

    Args:
        name: what `Encoder.name` says: the architecture, without `@`.
        input_spec: what `Encoder.input_spec` says; None for the architecture's own.

    Raises:
        OptionError: the encoder is unknown or cannot take the size.
    """
    if "@" in name:
        raise OptionError(f"encoder {name!r}: expected the architecture alone, without @")
    encoder = create_encoder(f"{name}@{RANDOM}", input_size=input_spec.size if input_spec else None)
    if input_spec is not None:
        encoder.input_spec = input_spec
    return encoder


def _create_named(name: str, rest: str, size: Size) -> "Encoder":
    if name not in BUILDERS:
        raise _unknown(name)
    tags = [entry.tag for entry in ENTRIES if entry.encoder == name]
    chosen = _choose(name, rest or (tags[0] if tags else ""), tags)
    record = record_of_file(name, chosen) if isinstance(chosen, Path) else None
    encoder = BUILDERS[name](size)
    if isinstance(chosen, Path) and record is not None:
        return _load(encoder, chosen, record)
    entry = find_entry(name, str(chosen))
    return encoder if entry is None else _load(encoder, fetch(entry), record_of(entry))


def _create_timm(base: str, rest: str, size: Size) -> "Encoder":
    from siamese.encoders.timm_encoder import TimmEncoder, default_tag, entry_of, tags_of

    architecture, _, preset = ALIASES.get(base, base).removeprefix(TIMM).partition(".")
    tags = tags_of(architecture)
    if preset and preset not in tags:
        raise unknown_name(f"tag of encoder {TIMM}{architecture}", preset, tags)
    tags = [preset] if preset else tags
    chosen = _choose(base, rest or preset or default_tag(architecture) or "", tags)
    name = base if base in ALIASES else TIMM + architecture
    if isinstance(chosen, Path):
        record = record_of_file(TIMM + architecture, chosen)
        return _load(TimmEncoder(architecture, preset or None, size, name), chosen, record)
    if chosen == RANDOM:
        return TimmEncoder(architecture, preset or None, size, name)
    encoder = TimmEncoder(architecture, chosen, size, name)
    entry = entry_of(encoder, chosen)
    return _load(encoder, fetch(entry), record_of(entry))


def _choose(name: str, rest: str, tags: list[str]) -> Path | str:
    """What follows the `@` as a file or a known tag."""
    if not rest:
        raise OptionError(
            f"encoder {name!r}: no weights of it can be downloaded; give {name}@FILE, or {name}@{RANDOM}"
        )
    path = Path(rest).expanduser()
    if "/" in rest or "\\" in rest or path.suffix.lower() in WEIGHT_SUFFIXES or _is_file(path):
        return path
    if rest not in (*tags, RANDOM):
        unknown = unknown_name(f"tag of encoder {name}", rest, [*tags, RANDOM])
        raise OptionError(f"{unknown}; a file is given by its path, {name}@./{rest}")
    return rest


def _load(encoder: "Encoder", path: Path, record: WeightsRecord) -> "Encoder":
    from siamese.encoders.checkpoint import read_checkpoint

    encoder.load_checkpoint(read_checkpoint(path), str(path))
    encoder.weights = record
    encoder.pretrained = True
    return encoder


def _unknown(name: str) -> OptionError:
    from siamese.encoders.timm_encoder import is_architecture

    known = [*BUILDERS, *ALIASES, f"{TIMM}NAME"]
    return unknown_name("encoder", name, [*known, TIMM + name] if is_architecture(name) else known)


def _check_size(size: Size) -> None:
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise OptionError(f"input size {size}: expected height and width in pixels, each at least 1")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system allows
        return False
