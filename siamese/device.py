"""Which device runs the network: asked for and missing is an error, never a silent fallback."""

from siamese.errors import DeviceError, OptionError


def resolve_device(name: str = "auto") -> str:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into the device to use (`cpu` or `cuda:N`).

    Raises:
        DeviceError: a GPU was asked for and is not there.
        OptionError: the name is none of the four forms.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if name == "cpu":
        return "cpu"
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not index.isdecimal()) or name.endswith(":"):
        raise OptionError(f"--device {name!r}: expected auto, cpu, cuda or cuda:N")
    number = int(index or 0)
    if number >= count:
        found = f"{count} CUDA GPU{'s' if count != 1 else ''} found"
        raise DeviceError(f"--device {name}: {found}; use --device cpu or --device auto")
    return f"cuda:{number}"
