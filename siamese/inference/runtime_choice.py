"""Which runtime a model is run with: as asked for, else by what is there and what was measured."""

import json
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from siamese.device import may_have_gpu, resolve_device
from siamese.encoders.bundled import BUNDLED, name_of_model, path_of_model
from siamese.errors import ModelError, OptionError, unknown_name
from siamese.inference.export_manifest import EXPORTS, MANIFEST
from siamese.inference.runtime import AUTO
from siamese.inference.runtime_timing import RuntimeTimes, stored_times, torch_is_faster

RuntimeChoice = Literal["auto", "torch", "openvino"]
RUNTIMES = get_args(RuntimeChoice)
VARIABLE = "SIAMESE_RUNTIME"
KIND = "openvino"
# In the folder of an export that was made at first use, not by `siamese export`: it may be made anew.
FIRST_USE = "first-use.txt"


@dataclass(frozen=True)
class ChosenRuntime:
    """What runs a model.

    Attributes:
        export: the export to run on OpenVINO; None for the network on torch.
        reason: why, in words.
        images_per_second: by runtime, as measured for these weights on this machine; empty where nothing was, and
            where they were not looked up as nothing depends on them.
    """

    export: Path | None
    reason: str
    images_per_second: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Question:
    """The arguments of `choose_runtime`; `runtime` with the default of the environment in place of `auto`."""

    model: str
    device: str
    runtime: str
    precision: str
    input_size: tuple[int, int] | None
    make: bool
    demanded: bool  # the runtime was named in the call, not by the environment
    brief: bool

    @property
    def insists(self) -> bool:
        """Whether anything but an export is a failure."""
        return self.demanded and self.runtime == KIND


def choose_runtime(
    model: str | Path | None,
    device: str = "auto",
    runtime: str = "auto",
    precision: str = "f32",
    *,
    input_size: tuple[int, int] | None = None,
    make: bool = True,
    brief: bool = False,
) -> ChosenRuntime:
    """Choose between the network on torch and its export on OpenVINO, and make the export if there is none.

    `torch` and `openvino` are obeyed. `auto` is what the environment variable SIAMESE_RUNTIME says, else: a GPU that
    is asked for or found runs torch; on the CPU the export is taken, unless torch was measured faster for these
    weights on this machine. An export lies in the model folder or, by content, in the cache folder. Where there is
    none, it is made at first use; if that fails, torch is taken and a warning says why.

    Args:
        model: model folder, export, or `NAME`, `NAME@TAG`, `NAME@FILE` of an untouched encoder; `bundled` or None for
            the verifier that ships.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        runtime: `auto`, `torch` or `openvino`.
        precision: of an export, as of `OpenVinoRuntime`.
        input_size: height and width, for an untouched encoder only.
        make: make a missing export; False to only say what there is.
        brief: for a few images only: the export is taken also where torch was measured faster, as importing torch
            takes longer than it could save.

    Raises:
        OptionError: an unknown runtime, or one that does not go with the device.
        ModelError: the runtime that was asked for cannot run this model, or nothing here can.
        WeightsError: the weights of an encoder were changed, or cannot be downloaded.
    """
    default = default_runtime()
    demanded = runtime != AUTO
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    named = runtime if demanded else default
    name = name_of_model(model)
    asked = _Question(name, device, named, precision, input_size, make, demanded, brief)
    path = path_of_model(name)
    itself = (path / MANIFEST).is_file()
    if asked.runtime == "torch" and not (itself and not asked.demanded):
        if itself:
            raise ModelError(
                f"{name}: is an export, which torch cannot run; leave --runtime torch out, or name the model folder "
                "that it was made from"
            )
        return _on_torch(asked, "--runtime torch" if asked.demanded else f"{VARIABLE}=torch")
    if (gpu := _gpu(asked, itself)) is not None:
        return _on_torch(asked, f"runs on {gpu}")
    if itself:
        return ChosenRuntime(path, "is an export itself", {} if make else _speeds(_times_of_export(path)))
    return _on_cpu(asked, path)


def default_runtime() -> str:
    """What `auto` stands for: the value of the environment variable SIAMESE_RUNTIME, else `auto` itself.

    Raises:
        OptionError: it names no runtime.
    """
    default = os.environ.get(VARIABLE) or AUTO
    if default not in RUNTIMES:
        raise unknown_name(f"value of {VARIABLE}", default, RUNTIMES)
    return default


def torch_is_there() -> bool:
    """Whether torch could be imported; it is not."""
    return is_installed("torch")


def is_installed(module: str) -> bool:
    """Whether a module could be imported; it is not."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # kept away by an import hook, or half loaded
        return False


def _gpu(asked: _Question, itself: bool) -> str | None:
    """The GPU that the model is to be run on; None for the CPU.

    Raises:
        OptionError: a GPU was asked for, and an export was too.
    """
    if asked.device not in ("auto", "cpu"):
        if itself or asked.insists:
            raise OptionError(
                f"--device {asked.device}: an export runs on the CPU; "
                + ("leave --device out" if itself else "leave one of --device and --runtime out")
            )
        return asked.device
    if asked.device == "cpu" or itself or asked.runtime == KIND or not may_have_gpu():
        return None
    found = resolve_device(asked.device) if torch_is_there() else "cpu"
    return None if found == "cpu" else found


def _on_cpu(asked: _Question, path: Path) -> ChosenRuntime:
    own = path / EXPORTS / KIND
    if (own / MANIFEST).is_file() and not (own / FIRST_USE).is_file():
        return _measured(asked, own, "the export in the model folder")
    from siamese.inference.export_first_use import find_or_make

    torch = torch_is_there()
    found = find_or_make(asked.model, asked.input_size, precision=asked.precision, make=asked.make and torch)
    if found.folder is not None:
        return _measured(asked, found.folder, found.reason)
    if not torch:
        raise _nothing(asked.model, path)
    if asked.insists and asked.make:
        raise ModelError(
            f"{asked.model}: no export for --runtime openvino ({found.reason}); make one with `siamese export "
            f"{asked.model}{'' if _takes_export(asked.model, path) else ' -o DIR'}`, or leave --runtime out"
        )
    return ChosenRuntime(None, found.reason)


def _on_torch(asked: _Question, reason: str) -> ChosenRuntime:
    if not torch_is_there():
        raise ModelError(
            f"{asked.model}: is to run on torch ({reason}), which is not installed here; pip install torch"
        )
    return ChosenRuntime(None, reason)


def _nothing(model: str, path: Path) -> ModelError:
    """Neither an export nor what would make one."""
    if model == BUNDLED:
        return ModelError(
            f"{model}: no export of it was made yet, and torch is not installed here; run `siamese export {model} "
            "-o DIR` where torch is and give DIR as the model, or pip install torch"
        )
    if _takes_export(model, path):
        return ModelError(
            f"{model}: no export in {path / EXPORTS / KIND}, and torch is not installed here; run `siamese export "
            f"{model}` where torch is and copy that folder here, or pip install torch"
        )
    return ModelError(
        f"{model}: no such folder, and an encoder by name needs torch, which is not installed here; run `siamese "
        f"export {model} -o DIR` where torch is and give DIR as the model, or pip install torch"
    )


def _takes_export(model: str, path: Path) -> bool:
    """Whether an export may lie inside the model's own folder."""
    return model != BUNDLED and path.is_dir()


def _measured(asked: _Question, export: Path, reason: str) -> ChosenRuntime:
    """The export, unless the call leaves the choice open and torch was measured faster."""
    if asked.brief:
        return ChosenRuntime(export, reason)
    times = _times_of_export(export)
    speeds = _speeds(times)
    if asked.runtime != AUTO or times is None or asked.precision not in (AUTO, "f32"):
        return ChosenRuntime(export, reason, speeds)
    labels = [f"{KIND} {each}" for each in ("int8", "f32", *(["bf16"] if asked.precision == AUTO else []))]
    label = max((each for each in labels if each in speeds), key=speeds.__getitem__, default="")
    if not torch_is_faster(times, label):
        return ChosenRuntime(export, reason, speeds)
    if not torch_is_there():
        return ChosenRuntime(export, reason, speeds)
    said = f"measured faster here: {speeds['torch f32']:.0f} images/s, {label} {speeds[label]:.0f}"
    return ChosenRuntime(None, said, speeds)


def _speeds(times: RuntimeTimes | None) -> dict[str, float]:
    return {} if times is None else times.images_per_second


def _times_of_export(export: Path) -> RuntimeTimes | None:
    """The stored times of its weights; what is wrong with the manifest is said by who runs the export."""
    try:
        about = json.loads((export / MANIFEST).read_text(encoding="utf-8"))
        height, width = about["input"]["size"]
        return stored_times(str(about["weights_sha256"]), (int(height), int(width)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
