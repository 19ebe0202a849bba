"""Embedding images, each unique one once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.images.loader import ImageLoader, Outcome
from siamese.model.network import SiameseNetwork
from siamese.progress import progress

# On a CPU more images at a time gain nothing and cost memory; a GPU wants to be filled.
CPU_BATCH, GPU_BATCH = 16, 128


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a list of images.

    Attributes:
        vectors: shape (N, D), float32, rows of unit length; zero where the outcome is not `ok`.
        outcomes: what happened to each image.
    """

    vectors: NDArray[np.float32]
    outcomes: list[Outcome]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows hold an embedding, shape (N,)."""
        return np.array([outcome.status == "ok" for outcome in self.outcomes], dtype=bool)


def embed_pixels(
    network: SiameseNetwork,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    batch: int | None = None,
    flip: bool = False,
) -> NDArray[np.float32]:
    """Embed prepared pixels; the network is put in evaluation for the call and left as it was found.

    Args:
        network: on `device`.
        pixels: shape (M, H, W, 3), uint8, RGB; may be mapped from a file, as only a batch of it is held.
        rows: which of them, shape (N,); None for all.
        device: where the network runs.
        batch: images at a time; None for what suits the device.
        flip: test-time augmentation: the direction halfway between the embeddings of the image and of its mirror
            image. It costs a second pass, and is for what may be mirrored: faces, not characters.

    Returns:
        Shape (N, D), float32, rows of unit length.
    """
    part = _MirrorMean(network) if flip else network
    return _in_batches(network, part, network.embedding_dim, pixels, rows, device, batch)


class _MirrorMean(nn.Module):
    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self._network(images) + self._network(images.flip(-1))
        return F.normalize(embeddings, dim=1)


def encode_pixels(
    network: SiameseNetwork, pixels: NDArray[np.uint8], rows: NDArray[np.int64], *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Features of prepared pixels, as `embed_features` takes them; arguments as of `embed_pixels`.

    Returns:
        Shape (N, feature_dim), float32.
    """
    return _in_batches(network, network.encoder, network.encoder.feature_dim, pixels, rows, device)


@torch.inference_mode()
def _in_batches(
    network: SiameseNetwork,
    part: nn.Module,
    width: int,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    device: str,
    batch: int | None = None,
) -> NDArray[np.float32]:
    rows = np.arange(len(pixels)) if rows is None else rows
    batch = batch or default_batch(device)
    training = network.training
    network.eval()
    given = np.zeros((len(rows), width), np.float32)
    for start in range(0, len(rows), batch):
        images = torch.from_numpy(network.input_spec.normalise(pixels[rows[start : start + batch]]))
        given[start : start + batch] = part(images.to(device)).float().cpu().numpy()
    network.train(training)
    return given


@torch.inference_mode()
def embed_features(
    network: SiameseNetwork, features: NDArray[np.float32], *, device: str = "cpu", batch: int = 4096
) -> NDArray[np.float32]:
    """Embed features that the network's encoder gave before; the network is left as it was found.

    Args:
        network: on `device`.
        features: shape (N, feature_dim), float32; may be mapped from a file.
        device: where the network runs.
        batch: rows at a time.

    Returns:
        Shape (N, D), float32, rows of unit length.
    """
    training = network.training
    network.eval()
    vectors = np.zeros((len(features), network.embedding_dim), np.float32)
    for start in range(0, len(features), batch):
        given = torch.from_numpy(np.ascontiguousarray(features[start : start + batch]))
        vectors[start : start + batch] = network.project(given.to(device)).float().cpu().numpy()
    network.train(training)
    return vectors


def embed_sources(
    network: SiameseNetwork,
    loader: ImageLoader,
    sources: Sequence[Path | bytes],
    *,
    device: str = "cpu",
    batch: int | None = None,
    flip: bool = False,
) -> Embeddings:
    """Load and embed images in batches; memory holds one batch of pixels and the embeddings.

    Args:
        network: on `device`.
        loader: made for the network's input specification.
        sources: paths, or files as bytes; the caller passes each image once.
        device: where the network runs.
        batch: images at a time; None for what suits the device.
        flip: as in `embed_pixels`.
    """
    batch = batch or default_batch(device)
    vectors = np.zeros((len(sources), network.embedding_dim), np.float32)
    outcomes: list[Outcome] = []
    starts: Iterable[int] = range(0, len(sources), batch)
    if len(sources) > batch:
        starts = progress(starts, f"embedding {len(sources)} images", unit=f"x{batch}")
    for start in starts:
        pixels, done = loader.load(sources[start : start + batch])
        usable = np.array([outcome.status == "ok" for outcome in done], dtype=bool)
        if usable.any():
            rows = start + np.flatnonzero(usable)
            vectors[rows] = embed_pixels(network, pixels[usable], device=device, batch=batch, flip=flip)
        outcomes.extend(done)
    return Embeddings(vectors, outcomes)


def default_batch(device: str) -> int:
    """Images at a time that suit a device."""
    return CPU_BATCH if device == "cpu" else GPU_BATCH
