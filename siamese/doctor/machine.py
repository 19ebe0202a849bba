"""The processors: what they are, how many may be used, and what they can do fast."""

import os
import platform
from pathlib import Path
from typing import Any

from siamese.device import may_have_gpu, usable_processors
from siamese.doctor.finding import Finding
from siamese.errors import SiameseError
from siamese.inference.runtime_choice import is_installed, torch_is_there
from siamese.inference.runtime_timing import describe_machine
from siamese.openvino_library import cpu_capabilities

# Sets of instructions that decide how fast a network runs, as Linux names them.
FLAGS = (
    *("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "asimddp", "bf16", "i8mm", "sve"),
)


def describe_devices() -> tuple[dict[str, Any], list[Finding]]:
    """The CPU and the GPUs, as values and in words.

    GPUs are told by torch alone; where it is missing, `gpus` is None.
    """
    cpu = {
        "name": describe_machine()["processor"],
        "architecture": platform.machine(),
        "usable": usable_processors(),
        "processors": os.cpu_count(),
        "instructions": _instructions(),
        "precisions": _precisions(),
    }
    gpus = _gpus()
    return {"cpu": cpu, "gpus": gpus}, [_cpu_finding(cpu), _gpu_finding(gpus)]


def _instructions() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    line = next((each for each in lines if each.startswith(("flags", "Features"))), "")
    found = set(line.partition(":")[2].split())
    return [flag for flag in FLAGS if flag in found]


def _precisions() -> list[str]:
    """Arithmetic that OpenVINO says the processor has of its own; empty without OpenVINO."""
    if not is_installed("openvino"):
        return []
    try:
        return cpu_capabilities()
    except (SiameseError, RuntimeError):  # an installation that is broken is told of by its own check
        return []


def _gpus() -> list[dict[str, Any]] | None:
    if not torch_is_there():
        return None
    import torch

    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [
        {"device": f"cuda:{number}", "name": each.name, "memory_bytes": each.total_memory}
        for number, each in enumerate(found)
    ]


def _cpu_finding(cpu: dict[str, Any]) -> Finding:
    several = "processor" if cpu["usable"] == 1 else "processors"
    limit = f" of {cpu['processors']}" if cpu["usable"] != cpu["processors"] else ""
    instructions = " ".join(cpu["instructions"]) or "instructions not known"
    precisions = f"; OpenVINO: {' '.join(cpu['precisions'])}" if cpu["precisions"] else ""
    return Finding("CPU", "ok", f"{cpu['name']}, {cpu['usable']}{limit} {several}; {instructions}{precisions}")


def _gpu_finding(gpus: list[dict[str, Any]] | None) -> Finding:
    if gpus is None:
        return Finding("GPU", "warn", "not known: torch, which finds them, is missing")
    if gpus:
        each = (f"{gpu['device']} {gpu['name']}, {gpu['memory_bytes'] / 2**30:.0f} GiB" for gpu in gpus)
        return Finding("GPU", "ok", "; ".join(each))
    if may_have_gpu():
        return Finding("GPU", "warn", "a driver is there, but torch finds none; is its build one without CUDA?")
    return Finding("GPU", "ok", "none found, the CPU is used")
