"""What runs a network, behind one small interface: torch here, OpenVINO and ONNX in files of their own.

Imports no torch before a `TorchRuntime` is made.
"""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from siamese.errors import OptionError

if TYPE_CHECKING:
    from siamese.model.network import SiameseNetwork

AUTO = "auto"


class Runtime(Protocol):
    """What embeds prepared images and compares embeddings; calls from several threads are safe.

    Attributes:
        name: `torch`, `openvino` or `onnxruntime`.
        precision: of the arithmetic, `f32`, `bf16`, `f16`, or `int8` for a quantised export.
        embedding_dim: width of an embedding.
        pair_head: whether embeddings are compared by a pair head, and not by their cosine.
        identities: how many identities an identity head knows; 0 without one.
    """

    name: str
    precision: str
    embedding_dim: int
    pair_head: bool
    identities: int

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images (B, 3, H, W) as `InputSpec.normalise` gives them to unit embeddings (B, D); B may be 0."""

    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """Similarity of each row of `left` (N, D) with the same row of `right`; shape (N,), in [-1, 1]."""

    def identity_probabilities(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities (N, C) of the C known identities for unit embeddings (N, D); each row sums to 1.

        Raises:
            OptionError: there is no identity head.
        """


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
        self.identities = 0 if network.identity_head is None else network.identity_head.identities

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

    def identity_probabilities(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """As `Runtime.identity_probabilities`."""
        import torch

        head = self.network.identity_head
        if head is None:
            raise no_identity_head(self.network.encoder.name)
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(vectors, np.float32)).to(self.device)
            return np.asarray(head.probabilities(given).cpu().numpy())


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


def no_identity_head(where: str) -> OptionError:
    """The error for a model, or an export of one, that tells no identities apart."""
    return OptionError(
        f"{where}: has no identity head; train one with `siamese train DATA --loss arcface -o DIR`, or export the "
        "model again where an earlier version made the export"
    )
