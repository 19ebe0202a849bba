"""Embedding prepared pixels with a network, in batches."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from siamese.model.embeddings import default_batch
from siamese.model.network import SiameseNetwork


def embed_pixels(
    network: SiameseNetwork,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    batch: int | None = None,
) -> NDArray[np.float32]:
    """Embed prepared pixels; the network is put in evaluation for the call and left as it was found.

    Args:
        network: on `device`.
        pixels: shape (M, H, W, 3), uint8, RGB; may be mapped from a file, as only a batch of it is held.
        rows: which of them, shape (N,); None for all.
        device: where the network runs.
        batch: images at a time; None for what suits the device.

    Returns:
        Shape (N, D), float32, rows of unit length.
    """
    return _in_batches(network, network, network.embedding_dim, pixels, rows, device, batch)


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
