"""MTCNN's three nets, compiled for this machine's CPU by OpenVINO."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.errors import WeightsError
from siamese.openvino_files import checked_cache
from siamese.openvino_library import core, openvino

Floats = NDArray[np.float32]
NETS = ("proposal", "refinement", "output")
COMPILED = "compiled"  # beside the nets: what OpenVINO made of them for this machine
# Crops run in blocks of these sizes only, the last one filled up: OpenVINO prepares each size anew, which takes
# longer than running it.
BLOCKS = {"refinement": (32, 8), "output": (8, 2)}
# What is prepared for a size of a layer is kept for this many; without a bound every other size of photograph would
# add megabytes. One photograph needs less than a hundred.
SIZES_KEPT = 128


class DetectorNets:
    """The nets, each from crops or images (N, 3, H, W) float32 scaled to (x - 127.5) / 128.

    Safe to use from several threads at a time.

    Args:
        nets: for each name of `NETS` its OpenVINO IR: the `.xml` file, its weights beside it, or the model itself.
        threads: how many threads a net may use.

    Raises:
        WeightsError: OpenVINO cannot read or compile a net.
    """

    def __init__(self, nets: Mapping[str, Any], threads: int) -> None:
        library = core()
        self._compiled = {name: _compile(library, nets[name], threads) for name in NETS}
        self._tensor = openvino().Tensor
        self._of_thread = threading.local()

    def propose(self, image: Floats) -> tuple[Floats, Floats]:
        """Run the proposal net over an image (1, 3, H, W).

        Returns:
            Scores (h, w) and offsets of the sides (4, h, w), one cell for every other pixel.
        """
        scores, offsets = self._run("proposal", image)
        return scores[0], offsets[0]

    def refine(self, crops: Floats) -> tuple[Floats, Floats]:
        """Run the refinement net on crops (N, 3, 24, 24): scores (N,) and offsets of the sides (N, 4)."""
        scores, offsets = self._run_in_blocks("refinement", crops)
        return scores, offsets

    def finish(self, crops: Floats) -> tuple[Floats, Floats, Floats]:
        """Run the output net on crops (N, 3, 48, 48): scores (N,), offsets (N, 4), landmarks (N, 10)."""
        scores, offsets, landmarks = self._run_in_blocks("output", crops)
        return scores, offsets, landmarks

    def _run_in_blocks(self, name: str, crops: Floats) -> list[Floats]:
        results: list[list[Floats]] = []
        start = 0
        while start < len(crops) or not results:
            left = len(crops) - start
            size = next((size for size in BLOCKS[name] if size <= left), BLOCKS[name][-1])
            block = crops[start : start + size]
            if len(block) < size:
                block = np.concatenate([block, np.zeros((size - len(block), *crops.shape[1:]), np.float32)])
            results.append([values[:left] for values in self._run(name, block)])
            start += size
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def _run(self, name: str, images: Floats) -> list[Floats]:
        # A request holds the buffers of one inference: each thread needs its own.
        requests = self._of_thread.__dict__
        if name not in requests:
            requests[name] = self._compiled[name].create_infer_request()
        tensor = self._tensor(images, shared_memory=True)
        # Copied, as the next inference of this thread writes over them.
        return [values.copy() for values in requests[name].infer(tensor, share_outputs=True).values()]


def _compile(library: Any, net: Any, threads: int) -> Any:
    options = {
        # Some processors would otherwise compute in bfloat16, which moves landmarks by pixels.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # Several processes would all be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": SIZES_KEPT,
    }
    if not isinstance(net, Path):
        return library.compile_model(net, "CPU", options)
    try:  # what was compiled before is loaded, in a third of the time
        with checked_cache(net.parent / COMPILED):
            return library.compile_model(str(net), "CPU", options | {"CACHE_DIR": str(net.parent / COMPILED)})
    except (RuntimeError, OSError):  # nothing can be written there
        pass
    try:
        return library.compile_model(str(net), "CPU", options)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(
            f"{net}: OpenVINO cannot use this net of the face detector: {reason}; remove its folder, it is made anew"
        ) from error
