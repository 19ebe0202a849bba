"""OpenVINO, imported at first need, without what an inference does not need."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from siamese.errors import OptionError

# Sends an event to its maker whenever `openvino`, its converter or NNCF is imported; without it they carry on alone.
TELEMETRY = "openvino_telemetry"
# The converter takes a third of the time of the import, and only `siamese export` converts.
CONVERTER = "openvino.tools.ovc"
_NO_STACK = 2  # SS_DISABLE


def openvino() -> Any:
    """The module `openvino`.

    Raises:
        OptionError: it is not installed.
    """
    try:
        if "openvino" not in sys.modules:
            with left_out(TELEMETRY, CONVERTER):
                import openvino
        import openvino
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise OptionError(
            f"OpenVINO cannot be imported ({reason}); pip install openvino, or run the model on torch"
        ) from error
    return openvino


def core() -> Any:
    """A core of OpenVINO, with its plugin for the CPU loaded and the stack for signals as it was."""
    with signal_stack_kept():
        made = openvino().Core()
        made.get_property("CPU", "OPTIMIZATION_CAPABILITIES")  # loads the plugin, as every use of the core would
    return made


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Give this thread back its stack for signals, which OpenVINO's plugin for the CPU replaces as it is loaded.

    As the plugin goes, it frees its stack. Of two that do not go in the opposite order of their coming, the second
    would bring back the stack of the first, and the next signal (Ctrl-C, the end of a child) would end the process.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    set_stack = ctypes.CDLL(None).sigaltstack
    before = _SignalStack()
    known = set_stack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        # Once matrix registers are in use, the system takes no stack that is too small for them; then none is better.
        if known and set_stack(ctypes.byref(before), None) != 0:
            set_stack(ctypes.byref(_SignalStack(flags=_NO_STACK)), None)


class _SignalStack(ctypes.Structure):
    """`stack_t` of <signal.h> on Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def cpu_capabilities() -> list[str]:
    """What OpenVINO says this processor can do at its own speed: `FP32`, `BF16`, `INT8` and so on."""
    return list(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def reason_of(error: Exception) -> str:
    """Why OpenVINO failed, in one line: the last of its message, as those before name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Let imports within act as if these modules were not installed; those loaded already stay."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]
