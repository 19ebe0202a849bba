"""Any image network of timm as an encoder; timm builds it, but never downloads."""

import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, group_parameters, list_pretrained, model_entrypoint
from torch import Tensor, nn

from siamese.encoders.checkpoint import load_exactly
from siamese.encoders.encoder import Encoder
from siamese.encoders.weights import WeightEntry, find_entry
from siamese.errors import OptionError, WeightsError, unknown_name
from siamese.images.input_spec import InputSpec

PREFIX = "timm/"
SOURCE = "https://github.com/huggingface/pytorch-image-models"
# The names that timm's model files give to what turns foreign layouts of a checkpoint into timm's own.
FILTERS = ("checkpoint_filter_fn", "_filter_fn", "pretrained_filter_fn", "_filter_torchvision_pretrained")


class TimmEncoder(Encoder):
    """A network of timm without its classifier: features as timm gives them with `num_classes=0`.

    Args:
        architecture: timm's name without a tag.
        tag: timm's tag, which decides the preprocessing; None for timm's default.
        input_size: height and width; None for the size of the tag.
        name: the encoder's name; None for `timm/ARCHITECTURE`.

    Raises:
        OptionError: timm knows no such architecture, or it cannot take this input size.
    """

    def __init__(
        self,
        architecture: str,
        tag: str | None = None,
        input_size: tuple[int, int] | None = None,
        name: str | None = None,
    ) -> None:
        _check_known(architecture)
        network = _create(architecture, tag, input_size)
        spec = _input_spec(network, input_size)
        super().__init__(name or PREFIX + architecture, spec, _feature_dim(network, architecture, spec.size))
        self.architecture = architecture
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) float32 to features (B, feature_dim)."""
        features: Tensor = self.network(images)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """The layer groups of timm's own coarse matcher; the top-level children where timm has none."""
        group_of = _groups(self.network)
        stages: list[list[nn.Module]] = [[] for _ in range(max(group_of.values()) + 1)]
        parameters = {id(parameter): group_of[name] for name, parameter in self.network.named_parameters()}
        _assign(self.network, parameters, stages)
        return [stage for stage in stages if stage]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        """Load weights in any layout that timm converts for this architecture; the classifier is dropped."""
        layout = f"timm's {self.architecture}"
        try:
            converted = _filter(self.architecture)(state, self.network)
        except Exception as error:  # the filters index foreign dicts, and fail in as many ways as there are
            found = next(iter(state))
            raise WeightsError(
                f"weights {origin}: another layout ({len(state)} names, first {found!r}); expected {layout}"
            ) from error
        own = self.network.state_dict().keys()
        heads = tuple(f"{head}." for head in _heads(self.network))
        trunk = {name: tensor for name, tensor in converted.items() if name in own or not name.startswith(heads)}
        load_exactly(self.network, trunk, origin, f"{layout} ({next(iter(own))!r}, ...)")


def tags_of(architecture: str) -> list[str]:
    """The tags of `architecture` that timm has weights for, in alphabetical order."""
    _check_known(architecture)
    return sorted(name.partition(".")[2] for name in list_pretrained(f"{architecture}.*"))


def default_tag(architecture: str) -> str | None:
    """The tag whose weights timm itself would take; None where it has none."""
    _check_known(architecture)
    tag: str | None = get_pretrained_cfg(architecture).tag
    return tag if tag in tags_of(architecture) else None


def entry_of(encoder: TimmEncoder, tag: str) -> WeightEntry:
    """Where the weights `tag` of an encoder's architecture are published, from timm's own record."""
    name = PREFIX + encoder.architecture
    if (entry := find_entry(name, tag)) is not None:
        return entry
    cfg = get_pretrained_cfg(f"{encoder.architecture}.{tag}")
    url = str(cfg.url)
    if cfg.hf_hub_id:
        url = f"https://huggingface.co/{cfg.hf_hub_id}/resolve/main/{cfg.hf_hub_filename or 'model.safetensors'}"
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return WeightEntry(
        encoder=name,
        tag=tag,
        url=url,
        # The file is float32 and has the classifier too.
        bytes=4 * (parameters + encoder.feature_dim * (cfg.num_classes or 0)),
        licence=cfg.license or "unknown",
        training_set=f"as named by the tag {tag!r}",
        source=SOURCE,
    )


def is_architecture(name: str) -> bool:
    """Whether timm has an architecture of this name."""
    return bool(timm.is_model(name))


def _check_known(architecture: str) -> None:
    if is_architecture(architecture):
        return
    near = get_close_matches(architecture, timm.list_models(), n=5, cutoff=0.6)
    if near:
        raise unknown_name("encoder", PREFIX + architecture, [PREFIX + name for name in near])
    raise OptionError(
        f"unknown encoder {PREFIX + architecture!r}: timm has no architecture with a name like it;"
        " timm.list_models() lists all"
    )


def _create(architecture: str, tag: str | None, size: tuple[int, int] | None) -> nn.Module:
    name = f"{architecture}.{tag}" if tag else architecture
    cfg = get_pretrained_cfg(name)
    # Only networks tied to a size (position embeddings, windows) know the argument; the others take any size.
    resized = size is not None and cfg.fixed_input_size and size != tuple(cfg.input_size[1:])
    options: dict[str, Any] = {"img_size": size} if resized else {}
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except Exception as error:
        raise _unfit(architecture, size or tuple(cfg.input_size[1:]), error) from error
    return network


def _input_spec(network: nn.Module, size: tuple[int, int] | None) -> InputSpec:
    config = timm.data.resolve_model_data_config(network)
    return InputSpec(
        size=size or config["input_size"][1:],
        mean=config["mean"],
        std=config["std"],
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    )


def _feature_dim(network: nn.Module, architecture: str, size: tuple[int, int]) -> int:
    """Ask the network itself: timm's attributes do not say whether its neck is pooled, nor if the size fits."""
    network.eval()
    try:
        with torch.no_grad():
            features = network(torch.zeros(1, 3, *size))
    except Exception as error:
        raise _unfit(architecture, size, error) from error
    finally:
        network.train()
    if features.ndim != 2:
        shape = "x".join(str(length) for length in features.shape[1:])
        raise OptionError(
            f"encoder {PREFIX + architecture}: gives a map of {shape} per image, expected one vector;"
            " choose an architecture with pooled features"
        )
    return int(features.shape[1])


def _unfit(architecture: str, size: tuple[int, ...], error: Exception) -> OptionError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    own = get_pretrained_cfg(architecture).input_size[1:]
    return OptionError(
        f"encoder {PREFIX + architecture}: cannot be built for input size {size[0]}x{size[1]} ({reason});"
        f" its own size is {own[0]}x{own[1]}"
    )


def _groups(network: nn.Module) -> dict[str, int]:
    """The stage of each parameter by name, counted from the input."""
    try:
        matcher = network.group_matcher(coarse=True)  # type: ignore[operator]
    except (AttributeError, AssertionError):  # a few architectures have no matcher, or none that is coarse
        tops = list(dict.fromkeys(name.partition(".")[0] for name, _ in network.named_parameters()))
        return {name: tops.index(name.partition(".")[0]) for name, _ in network.named_parameters()}
    groups: dict[str, int] = group_parameters(network, matcher, reverse=True)
    return groups


def _assign(module: nn.Module, group_of: dict[int, int], stages: list[list[nn.Module]]) -> None:
    """Put `module` whole into its stage if it lies in one, else its own parameters and each child."""
    groups = {group_of[id(parameter)] for parameter in module.parameters()}
    if len(groups) == 1:
        stages[groups.pop()].append(module)
        return
    loose: dict[int, list[nn.Parameter]] = {}
    for parameter in module.parameters(recurse=False):
        loose.setdefault(group_of[id(parameter)], []).append(parameter)
    for group, parameters in loose.items():
        stages[group].append(nn.ParameterList(parameters))
    for child in module.children():
        _assign(child, group_of, stages)


def _filter(architecture: str) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]:
    """What timm itself applies to a checkpoint of `architecture`, or nothing."""
    module = sys.modules[model_entrypoint(architecture).__module__]
    convert = next((getattr(module, name) for name in FILTERS if hasattr(module, name)), None)
    if convert is None:
        return lambda state, network: state
    if len(inspect.signature(convert).parameters) == 1:
        return lambda state, network: convert(state)
    return lambda state, network: convert(state, network)


def _heads(network: nn.Module) -> set[str]:
    """Top-level modules that hold a classifier: what of them the network itself lacks is the classifier."""
    cfg: Any = network.pretrained_cfg
    classifiers = cfg["classifier"] or ()
    names = (classifiers,) if isinstance(classifiers, str) else classifiers
    return {name.partition(".")[0] for name in names}
