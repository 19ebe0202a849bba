"""Eight-bit arithmetic: quantisation after training with NNCF, calibrated on the user's images."""

import io
import logging
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.images.loader import ImageLoader
from siamese.inference.export_manifest import NETWORK, SUFFIX
from siamese.inference.image_source import list_images
from siamese.openvino_library import TELEMETRY, core, left_out, openvino, signal_stack_kept
from siamese.progress import log

# NNCF's own default: ranges of activations settle well before.
MOST_IMAGES = 300
FEWEST_IMAGES = 10


def check_nncf() -> Any:
    """The package NNCF.

    Raises:
        OptionError: it is not installed.
    """
    # It looks for a CUDA compiler when NNCF is imported, and warns of machines without one.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        with left_out(TELEMETRY):
            import nncf
    except ImportError as error:
        raise OptionError('--int8: the package nncf is not installed; pip install "siamese[int8]"') from error
    logging.getLogger("nncf").setLevel(logging.WARNING)
    return nncf


def calibration_images(data: Path, loader: ImageLoader) -> list[NDArray[np.float32]]:
    """Images of the user, prepared as the network takes them, each (1, 3, H, W): at most 300, evenly spread.

    Raises:
        DataError: no images, or too few that can be used.
    """
    files = [Path(file) for file in list_images([data])["file"].to_pylist()]
    rows = np.unique(np.linspace(0, len(files) - 1, min(MOST_IMAGES, len(files))).astype(np.int64))
    pixels, outcomes = loader.load([files[row] for row in rows])
    usable = np.array([outcome.status == "ok" for outcome in outcomes], bool)
    if usable.sum() < FEWEST_IMAGES:
        raise DataError(
            f"--calibrate {data}: {int(usable.sum())} usable images, expected at least {FEWEST_IMAGES} (some hundred "
            "like those that will be compared)"
        )
    images = loader.spec.normalise(pixels[usable])
    return [images[row : row + 1] for row in range(len(images))]


def quantise(folder: Path, kind: str, images: list[NDArray[np.float32]]) -> None:
    """Replace the network's graph in `folder` by one of eight bits; a pair head stays as it is."""
    log.info("calibrating eight-bit arithmetic on %d images", len(images))
    path = folder / (NETWORK + SUFFIX[kind])
    with signal_stack_kept():  # NNCF has cores of its own
        if kind == "openvino":
            _quantise_openvino(path, images)
        else:
            _quantise_onnx(path, images)


def _quantise_openvino(path: Path, images: list[NDArray[np.float32]]) -> None:
    library = openvino()
    # Read from memory: a file cannot be replaced while its weights are mapped.
    weights = library.Tensor(np.frombuffer(path.with_suffix(".bin").read_bytes(), np.uint8))
    model = core().read_model(path.read_bytes(), weights)
    library.save_model(_quantised(model, images), path, compress_to_fp16=False)


def _quantise_onnx(path: Path, images: list[NDArray[np.float32]]) -> None:
    import onnx

    onnx.save(_quantised(onnx.load(path), [{"images": image} for image in images]), path)


def _quantised(model: Any, samples: list[Any]) -> Any:
    nncf = check_nncf()
    quiet = not log.isEnabledFor(logging.INFO)
    with redirect_stdout(io.StringIO()) if quiet else nullcontext():  # its progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            # Activations of PReLU and GELU have two signs: with symmetric ranges half of the steps would be lost.
            preset=nncf.QuantizationPreset.MIXED,
        )
