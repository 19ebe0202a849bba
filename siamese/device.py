"""Which device runs the network: asked for and missing is an error, never a silent fallback."""

import ctypes
import os
import sys
from pathlib import Path

from siamese.errors import DeviceError, OptionError


def resolve_device(name: str = "auto") -> str:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into the device to use (`cpu` or `cuda:N`).

    Raises:
        DeviceError: a GPU was asked for and is not there.
        OptionError: the name is none of the four forms.
    """
    if name == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not index.isdecimal()) or name.endswith(":"):
        raise OptionError(f"--device {name!r}: expected auto, cpu, cuda or cuda:N")
    number = int(index or 0)
    if number >= count:
        found = f"{count} CUDA GPU{'s' if count != 1 else ''} found"
        raise DeviceError(f"--device {name}: {found}; use --device cpu or --device auto")
    return f"cuda:{number}"


def may_have_gpu() -> bool:
    """Whether a GPU that torch could use may be there; told by its device files, without the seconds of torch."""
    if not sys.platform.startswith("linux"):
        return sys.platform == "win32"
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists() or Path("/dev/kfd").exists()


def usable_processors() -> int:
    """How many processors this process may use, which in a container or under taskset are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let the process keep memory that it frees, for its next allocation; glibc only, elsewhere nothing happens.

    A convolution on a CPU allocates megabytes for each layer and frees them a moment later. By default glibc hands
    such blocks back to the system each time, and the system clears them again page by page: on small networks that
    takes longer than the arithmetic. The price is that the process stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # another C library
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 << 20)
