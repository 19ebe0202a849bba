"""Read third-party weight files without running what is in them, and load them completely or not at all."""

import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from siamese.errors import WeightsError

# Training scripts put the parameters below one of these keys, beside epoch counters and optimiser state.
NESTS = ("net_state_dict", "state_dict", "model")
# What nn.DataParallel and DistributedDataParallel put before every name.
PARALLEL_PREFIX = "module."


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read parameters and buffers by name from `path`, on the CPU.

    `.safetensors` files are read as such, all others by `torch.load(weights_only=True)`, which runs no code.
    The parameters may lie below `net_state_dict`, `state_dict` or `model`; `module.` before names is removed.

    Raises:
        WeightsError: the file cannot be read, is damaged, holds no parameters, or could only be read by running code.
    """
    content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    while isinstance(content, dict) and (nest := _nest(content)):
        content = content[nest]
    if isinstance(content, dict):
        state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if state:
            return _without_prefix(state)
    found = f"a dict of {_some(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
    raise WeightsError(
        f"weights {path}: found {found}; expected tensors by name, at the top or below {', '.join(NESTS)}"
    )


def load_exactly(module: nn.Module, state: dict[str, Tensor], origin: str, layout: str) -> None:
    """Load `state` into `module`, every name and every shape of it.

    Args:
        module: what to fill.
        state: parameters and buffers by name.
        origin: the file, for error messages.
        layout: the expected layout in words, for error messages.

    Raises:
        WeightsError: names are missing or unexpected, or shapes differ; it counts them and names the first.
    """
    own = module.state_dict()
    # A batch counter came with a later torch than many published weights; inference does not use it.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    # What is empty takes its length from what is loaded.
    fixed = {name: tensor.shape for name, tensor in own.items() if tensor.numel()}
    reshaped = [name for name in state if name in fixed and state[name].shape != fixed[name]]
    faults = [
        f"{len(names)} {what} (first {names[0]!r})"
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if reshaped:
        name = reshaped[0]
        shapes = f"found {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
        faults.append(f"{len(reshaped)} of another shape (first {name!r}: {shapes})")
    if faults:
        raise WeightsError(f"weights {origin}: another layout: {', '.join(faults)}; expected {layout}")
    module.load_state_dict(state, strict=False)


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"weights {path}: not a whole safetensors file ({_reason(error)})") from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's readers raise a dozen types for damaged files
        culprit = re.search(r"GLOBAL (\S+)", str(error))
        if not isinstance(error, pickle.UnpicklingError) or culprit is None:
            raise WeightsError(
                f"weights {path}: damaged, or not a file of weights ({_reason(error)}); expected what torch.save"
                " writes, or a .safetensors file"
            ) from error
        raise WeightsError(
            f"weights {path}: refused, because reading it would run {culprit[1]}; expected tensors only: save"
            " the state dict alone, or as .safetensors, where the file was made"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # torch puts a page of advice around it
        return "its content is no pickle of tensors"
    lines = str(error).strip().splitlines()
    return lines[0][:120].rstrip(". ") if lines else type(error).__name__


def _nest(content: dict[object, object]) -> str | None:
    return next((name for name in NESTS if isinstance(content.get(name), dict)), None)


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state.items()}


def _some(content: dict[object, object]) -> str:
    names = [repr(name) for name in list(content)[:3]]
    return ", ".join(names) + (", ..." if len(content) > 3 else "") if names else "nothing"
