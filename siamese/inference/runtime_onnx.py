"""An ONNX export on onnxruntime: what checks such exports, and one more runtime for who has it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.device import usable_processors
from siamese.errors import ModelError, OptionError
from siamese.inference.export_manifest import IDENTITY_HEAD, NETWORK, PAIR_HEAD, read_manifest
from siamese.inference.runtime import check_images, no_identity_head, similarity_of
from siamese.similarity import pair_similarity


class OnnxRuntime:
    """An export to ONNX, on the processor.

    Args:
        folder: the export.
        threads: of the processor; None for all that this process may use.

    Attributes:
        manifest: of the export.

    Raises:
        ModelError: no export, a changed or stale one, or one of another kind.
        OptionError: onnxruntime is not installed.
    """

    name = "onnxruntime"

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        self.manifest = read_manifest(folder)
        if self.manifest.kind != "onnx":
            raise ModelError(f"{folder}: an export to {self.manifest.kind}; run `siamese export --format onnx`")
        self.embedding_dim = self.manifest.embedding_dim
        self.precision = "int8" if self.manifest.int8 else "f32"
        self._network = _session(folder / self.manifest.file(NETWORK), threads)
        self.pair_head = self.manifest.pair_head
        self._scorer = None
        if self.pair_head:
            self._scorer = _session(folder / self.manifest.file(PAIR_HEAD), threads)
        self.folder, self.identities = folder, self.manifest.identities
        self._namer = None
        if self.identities:
            self._namer = _session(folder / self.manifest.file(IDENTITY_HEAD), threads)

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Runtime.embed`."""
        check_images(images, self.manifest.size)
        if not len(images):
            return np.zeros((0, self.embedding_dim), np.float32)
        return np.asarray(self._network.run(["embeddings"], {"images": np.ascontiguousarray(images)})[0])

    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """As `Runtime.similarity`."""
        if self._scorer is None:
            return np.asarray(pair_similarity(left, right), np.float64)
        if not len(left):
            return np.zeros(0)
        sides = {"left": np.ascontiguousarray(left, np.float32), "right": np.ascontiguousarray(right, np.float32)}
        return similarity_of(self._scorer.run(["logit"], sides)[0])

    def identity_probabilities(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """As `Runtime.identity_probabilities`."""
        if self._namer is None:
            raise no_identity_head(str(self.folder))
        if not len(vectors):
            return np.zeros((0, self.identities), np.float32)
        given = {"embeddings": np.ascontiguousarray(vectors, np.float32)}
        return np.asarray(self._namer.run(["probabilities"], given)[0])


def _session(path: Path, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise OptionError('ONNX: the package onnxruntime is not installed; pip install "siamese[onnx]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_processors()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
