"""Encoders by name: `NAME`, `NAME@TAG` or `NAME@FILE`.

Imports no torch before an encoder is built.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.encoders.bundled import BUNDLED, bundled_folder
from siamese.encoders.model_files import CARD
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
# What the name of an OpenVINO encoder begins with once it is built.
UNTRAINED_OPENVINO = "openvino/"
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
            any `timm/NAME` or `timm/NAME.TAG`; `NAME+HEAD:WIDTH@FILE` has a head inside. Or `bundled`, or a model
            folder: the embedding of that verifier, before it is scaled to unit length. Or `openvino:PATH.xml`, a
            graph of OpenVINO, which is frozen, with its input described in `PATH.input.json` beside it or in the
            file that is named behind it, `openvino:PATH.xml@SPEC.json`.
            What follows the first `@` is a file if there is one of that name, or if it looks like a path.
        input_size: height and width in pixels, instead of the encoder's own.

    Raises:
        OptionError: the encoder, the tag or the size is not possible.
        WeightsError: the weights are missing, changed, of another layout, or cannot be downloaded.
        ModelError: a model folder is incomplete or was changed.

    Example:
        >>> create_encoder("mobilefacenet@random").feature_dim
        128
    """
    _check_size(input_size)
    from siamese.encoders.openvino_source import PREFIX as OPENVINO  # with OpenCV, which a list does without

    if name.startswith(OPENVINO):
        from siamese.encoders.openvino_encoder import create_openvino_encoder

        return create_openvino_encoder(name, input_size)
    if (folder := _model_folder(name)) is not None:
        from siamese.encoders.model_encoder import create_model_encoder

        return create_model_encoder(name, folder, input_size)
    base, at, rest = name.partition("@")
    if at and not rest:
        raise OptionError(f"encoder {name!r}: nothing follows @; expected {base}@TAG, {base}@FILE or {base}")
    return _create_by_architecture(base, rest, input_size)


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
    from siamese.encoders.headed_encoder import HeadedEncoder, parse_headed

    if (headed := parse_headed(name)) is not None:
        trunk, head, width = headed
        return HeadedEncoder(create_untrained(trunk, input_spec), head, width)
    if name.startswith(UNTRAINED_OPENVINO):
        from siamese.encoders.openvino_encoder import create_untrained_openvino

        return create_untrained_openvino(name, input_spec)
    encoder = create_encoder(f"{name}@{RANDOM}", input_size=input_spec.size if input_spec else None)
    if input_spec is not None:
        encoder.input_spec = input_spec
    return encoder


def _model_folder(name: str) -> Path | None:
    """The model folder that a name stands for; the encoders that have a name of their own go first."""
    if name == BUNDLED:
        return bundled_folder()
    base = name.partition("@")[0]
    if base in BUILDERS or base in ALIASES or base.startswith(TIMM):
        return None
    path = Path(name).expanduser()
    return path if _is_file(path / CARD) or ("/" in name and _is_folder(path)) else None


def _create_by_architecture(base: str, rest: str, size: Size) -> "Encoder":
    from siamese.encoders.headed_encoder import parse_headed

    if (headed := parse_headed(base)) is not None:
        return _create_headed(base, headed, rest, size)
    if ALIASES.get(base, base).startswith(TIMM):
        return _create_timm(base, rest, size)
    return _create_named(base, rest, size)


def _create_headed(base: str, headed: tuple[str, str, int], rest: str, size: Size) -> "Encoder":
    from siamese.encoders.headed_encoder import HeadedEncoder

    trunk, head, width = headed
    chosen = _choose(base, rest, [])
    record = record_of_file(base, chosen) if isinstance(chosen, Path) else None
    encoder = HeadedEncoder(create_encoder(f"{trunk}@{RANDOM}", input_size=size), head, width)
    return encoder if record is None else _load(encoder, Path(chosen), record)


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

    known = [*BUILDERS, *ALIASES, BUNDLED, f"{TIMM}NAME"]
    return unknown_name("encoder", name, [*known, TIMM + name] if is_architecture(name) else known)


def _check_size(size: Size) -> None:
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise OptionError(f"input size {size}: expected height and width in pixels, each at least 1")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system allows
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
