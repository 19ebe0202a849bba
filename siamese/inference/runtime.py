"""What runs a network: torch, or an export on OpenVINO, behind one small interface.

Imports neither torch nor OpenVINO before a runtime is made, and torch only for `TorchRuntime`.
"""

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from siamese.cache_folder import cache_folder
from siamese.errors import ModelError, OptionError, unknown_name
from siamese.inference.export_manifest import NETWORK, PAIR_HEAD, ExportManifest, read_manifest
from siamese.openvino_library import cpu_capabilities, openvino
from siamese.progress import log
from siamese.similarity import pair_similarity

if TYPE_CHECKING:
    from siamese.model.network import SiameseNetwork

# Precision of the arithmetic, and what OpenVINO calls the processor's own form of it.
PRECISIONS = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
AUTO = "auto"


class Runtime(Protocol):
    """What embeds prepared images and compares embeddings; calls from several threads are safe.

    Attributes:
        name: `torch`, `openvino` or `onnxruntime`.
        precision: of the arithmetic, `f32`, `bf16`, `f16`, or `int8` for a quantised export.
        embedding_dim: width of an embedding.
        pair_head: whether embeddings are compared by a pair head, and not by their cosine.
    """

    name: str
    precision: str
    embedding_dim: int
    pair_head: bool

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images (B, 3, H, W) as `InputSpec.normalise` gives them to unit embeddings (B, D); B may be 0."""

    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """Similarity of each row of `left` (N, D) with the same row of `right`; shape (N,), in [-1, 1]."""


class TorchRuntime:
    """A network on torch.

    Args:
        network: is put in evaluation and on the device.
        device: `cpu` or `cuda:N`.
    """

    name, precision = "torch", "f32"

    def __init__(self, network: "SiameseNetwork", device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = device
        self.embedding_dim = network.embedding_dim
        self.pair_head = network.pair_head is not None

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Runtime.embed`."""
        import torch

        check_images(images, self.network.input_spec.size)
        if not len(images):
            return np.zeros((0, self.embedding_dim), np.float32)
        with torch.inference_mode():
            given = self.network(torch.from_numpy(np.ascontiguousarray(images)).to(self.device))
        return np.asarray(given.float().cpu().numpy())

    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """As `Runtime.similarity`."""
        return np.asarray(self.network.pair_similarity(left, right), np.float64)


class OpenVinoRuntime:
    """An export on OpenVINO, on the processor.

    A compiled graph is kept in the user's cache folder, so that the next process starts sooner.

    Args:
        folder: the export.
        precision: `f32`; `bf16` or `f16` where the processor has it; `auto` takes bf16 where the processor has it and
            the check that the export records was passed with it, else f32.
        threads: of the processor; None for all that this process may use.
        cache: keep the compiled graph.

    Attributes:
        manifest: of the export.

    Raises:
        ModelError: no export, a changed or stale one, or one of another kind.
        OptionError: OpenVINO is not installed, or a precision that the processor has not.
    """

    name = "openvino"

    def __init__(
        self, folder: Path, precision: str = AUTO, *, threads: int | None = None, cache: bool = True
    ) -> None:
        self.manifest = read_manifest(folder)
        if self.manifest.kind != "openvino":
            raise ModelError(f"{folder}: an export to {self.manifest.kind}; run `siamese export --format openvino`")
        self.folder = folder
        self.embedding_dim = self.manifest.embedding_dim
        self.pair_head = self.manifest.pair_head
        arithmetic = _choose_precision(precision, self.manifest)
        self.precision = "int8" if self.manifest.int8 else arithmetic
        self._cache = cache
        self._threads = threads or usable_processors()
        self._network = self._compile(NETWORK, arithmetic)
        self._compiled_head: Any = None
        self._lock = threading.Lock()
        self._requests = threading.local()

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Runtime.embed`."""
        check_images(images, self.manifest.size)
        if not len(images):
            return np.zeros((0, self.embedding_dim), np.float32)
        request = self._request(NETWORK, self._network)
        request.infer({0: np.ascontiguousarray(images)}, share_inputs=True)
        # What the request gives lies in memory that its next run overwrites.
        return np.array(request.get_output_tensor(0).data, np.float32)

    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """As `Runtime.similarity`."""
        if not self.manifest.pair_head:
            return np.asarray(pair_similarity(left, right), np.float64)
        if not len(left):
            return np.zeros(0)
        with self._lock:
            if self._compiled_head is None:  # whoever only embeds never pays for it
                self._compiled_head = self._compile(PAIR_HEAD, "f32")
        request = self._request(PAIR_HEAD, self._compiled_head)
        sides = (np.ascontiguousarray(side, np.float32) for side in (left, right))
        request.infer(dict(enumerate(sides)), share_inputs=True)
        return similarity_of(request.get_tensor("logit").data)

    def _request(self, part: str, compiled: Any) -> Any:
        """This thread's own: two threads in one request would overwrite each other's images."""
        request = getattr(self._requests, part, None)
        if request is None:
            request = compiled.create_infer_request()
            setattr(self._requests, part, request)
        return request

    def _compile(self, part: str, precision: str) -> Any:
        path = self.folder / self.manifest.file(part)
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",  # one batch on all processors, not a batch on each
            "INFERENCE_NUM_THREADS": str(self._threads),
        }
        core = openvino().Core()
        # By content: OpenVINO itself goes by path and time, and an export may be replaced within a second.
        content = "".join(self.manifest.files[name] for name in sorted(self.manifest.files) if name.startswith(part))
        kept = cache_folder() / "openvino" / hashlib.sha256(content.encode()).hexdigest()[:24]
        if self._cache and _can_be_written(kept):
            try:
                return core.compile_model(path, "CPU", {**settings, "CACHE_DIR": str(kept)})
            except RuntimeError as error:  # a damaged cache, or a full disk
                log.warning("%s: not used for compiled models (%s)", kept, _first_line(error))
        try:
            return core.compile_model(path, "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"{path}: OpenVINO cannot run it ({_first_line(error)}); export the model again with the OpenVINO "
                "that is installed here"
            ) from error


def check_images(images: NDArray[np.float32], size: tuple[int, int]) -> None:
    """Refuse what is no batch of prepared images.

    Raises:
        ValueError: another shape than (B, 3, H, W), or other numbers than float32.
    """
    if images.ndim != 4 or images.shape[1:] != (3, *size) or images.dtype != np.float32:
        raise ValueError(f"images {images.shape} {images.dtype}: expected (B, 3, {size[0]}, {size[1]}) float32")


def similarity_of(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Similarities of a pair head's logits: tanh(logit / 2), in double precision so that large ones stay apart."""
    return np.asarray(np.tanh(np.asarray(logits, np.float64) / 2.0))


def usable_processors() -> int:
    """How many processors this process may use, which in a container or under taskset are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _choose_precision(precision: str, manifest: ExportManifest) -> str:
    if precision == AUTO:
        passed = manifest.precisions.get("bf16", False) and not manifest.int8
        return "bf16" if passed and PRECISIONS["bf16"] in cpu_capabilities() else "f32"
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, (AUTO, *PRECISIONS))
    if PRECISIONS[precision] not in cpu_capabilities():
        known = ", ".join(name for name, own in PRECISIONS.items() if own in cpu_capabilities())
        raise OptionError(f"precision {precision}: this processor has no arithmetic of it (it has {known})")
    return precision


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
