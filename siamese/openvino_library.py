"""OpenVINO, imported at first need, without what an inference does not need."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from siamese.errors import OptionError

# Sends an event to its maker whenever `openvino`, its converter or NNCF is imported; without it they carry on alone.
TELEMETRY = "openvino_telemetry"
# The converter takes a third of the time of the import, and only `siamese export` converts.
CONVERTER = "openvino.tools.ovc"


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


def cpu_capabilities() -> list[str]:
    """What OpenVINO says this processor can do at its own speed: `FP32`, `BF16`, `INT8` and so on."""
    return list(openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


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
