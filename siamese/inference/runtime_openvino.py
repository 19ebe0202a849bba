"""An export on OpenVINO, on the processor. Imports no torch, and OpenVINO only when a runtime is made."""

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.cache_folder import cache_folder
from siamese.device import usable_processors
from siamese.errors import ModelError, OptionError, unknown_name
from siamese.inference.export_manifest import IDENTITY_HEAD, NETWORK, PAIR_HEAD, ExportManifest, read_manifest
from siamese.inference.runtime import AUTO, check_images, no_identity_head, similarity_of
from siamese.openvino_files import checked_cache
from siamese.openvino_library import core, cpu_capabilities, reason_of
from siamese.openvino_streams import OpenVinoStreams, stream_settings
from siamese.progress import log
from siamese.similarity import pair_similarity

# Precision of the arithmetic, and what OpenVINO calls the processor's own form of it.
PRECISIONS = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
# Images that a processor takes at a time, at most: of more, the activations leave its cache.
PIECE = 8


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
        self.pair_head, self.identities = self.manifest.pair_head, self.manifest.identities
        arithmetic = _choose_precision(precision, self.manifest)
        self.precision = "int8" if self.manifest.int8 else arithmetic
        self._cache = cache
        self._threads = threads or usable_processors()
        self._network = OpenVinoStreams(self._compile(NETWORK, arithmetic), self._threads, self.embedding_dim)
        self._heads: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._requests = threading.local()

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Runtime.embed`."""
        check_images(images, self.manifest.size)
        if not len(images):
            return np.zeros((0, self.embedding_dim), np.float32)
        return self._network.run(images, min(-(-len(images) // self._threads), PIECE))

    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """As `Runtime.similarity`."""
        if not self.manifest.pair_head:
            return np.asarray(pair_similarity(left, right), np.float64)
        if not len(left):
            return np.zeros(0)
        request = self._head(PAIR_HEAD)
        sides = (np.ascontiguousarray(side, np.float32) for side in (left, right))
        request.infer(dict(enumerate(sides)), share_inputs=True)
        return similarity_of(request.get_tensor("logit").data)

    def identity_probabilities(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """As `Runtime.identity_probabilities`."""
        if not self.identities:
            raise no_identity_head(str(self.folder))
        if not len(vectors):
            return np.zeros((0, self.identities), np.float32)
        request = self._head(IDENTITY_HEAD)
        request.infer({0: np.ascontiguousarray(vectors, np.float32)}, share_inputs=True)
        return np.array(request.get_output_tensor(0).data, np.float32)

    def _head(self, part: str) -> Any:
        """A request of a head, which is compiled at first use: whoever only embeds never pays for it."""
        with self._lock:
            if part not in self._heads:
                self._heads[part] = self._compile(part, "f32")
        request = getattr(self._requests, part, None)
        if request is None:  # this thread's own: two threads in one would overwrite each other's embeddings
            request = self._heads[part].create_infer_request()
            setattr(self._requests, part, request)
        return request

    def _compile(self, part: str, precision: str) -> Any:
        path = self.folder / self.manifest.file(part)
        settings = stream_settings(self._threads, precision)
        library = core()
        # By content: OpenVINO itself goes by path and time, and an export may be replaced within a second.
        content = "".join(self.manifest.files[name] for name in sorted(self.manifest.files) if name.startswith(part))
        kept = cache_folder() / "openvino" / hashlib.sha256(content.encode()).hexdigest()[:24]
        if self._cache and _can_be_written(kept):
            try:
                with checked_cache(kept):
                    return library.compile_model(path, "CPU", {**settings, "CACHE_DIR": str(kept)})
            except (RuntimeError, OSError) as error:  # a damaged cache, or a full disk
                log.warning("%s: not used for compiled models (%s)", kept, reason_of(error))
        try:
            return library.compile_model(path, "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"{path}: OpenVINO cannot run it ({reason_of(error)}); export the model again with the OpenVINO "
                "that is installed here"
            ) from error


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
