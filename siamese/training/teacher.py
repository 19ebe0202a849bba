"""The teacher of a run: its embeddings of the training images as they are, computed once and kept."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from siamese.config import TrainConfig
from siamese.encoders.bundled import path_of_model
from siamese.encoders.encoder import Encoder
from siamese.encoders.registry import create_encoder
from siamese.errors import DataError, OptionError
from siamese.images.augment import augmenter
from siamese.images.cache import PixelCache
from siamese.images.loader import ImageLoader
from siamese.images.pixel_store import BATCH, open_pixel_store
from siamese.model.embedding import embed_pixels
from siamese.model.folder import load_model
from siamese.model.network import SiameseNetwork
from siamese.progress import log, progress
from siamese.training.kept_features import KeptFeatures
from siamese.training.processes import first_goes_ahead

Ints = NDArray[np.int64]
PIXELS = "teacher-pixels.bin"


class Teacher(Encoder):
    """A frozen network taken whole: what it encodes an image to is its unit embedding.

    Args:
        network: encoder and head.
    """

    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__(f"{network.encoder.name}+{network.head_name}", network.input_spec, network.embedding_dim)
        self.network = network.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) float32, prepared by `input_spec`: (B, T), rows of unit length."""
        embeddings: Tensor = self.network(images)
        return embeddings

    def stages(self) -> list[list[torch.nn.Module]]:
        """All of it as one stage: nobody trains a part of a teacher."""
        return [[self.network]]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        """A teacher comes with its weights; never called."""
        raise NotImplementedError


def load_teacher(name: str) -> Teacher:
    """The teacher of a run: a model folder, or an encoder with weights.

    Args:
        name: of the folder, `bundled`, or `NAME@TAG`, `NAME@FILE`, `openvino:PATH.xml`.

    Raises:
        SiameseError: no such model, or one that cannot teach: with random weights, or with a pair head, whose
            verdict is not the cosine of two embeddings.
    """
    folder = path_of_model(name)
    if folder.is_dir():
        network, _ = load_model(folder)
        if network.pair_head is not None:
            raise OptionError(
                f"--teacher {name}: it compares by a pair head, and embeddings are what a student learns; give one "
                "that compares by cosine"
            )
        return Teacher(network)
    encoder = create_encoder(name)
    if not encoder.pretrained:
        raise OptionError(f"--teacher {name}: its weights are random; give NAME@TAG, NAME@FILE or a model folder")
    return Teacher(SiameseNetwork(encoder))


def see_alike(student: Encoder, teacher: Teacher) -> None:
    """Let a student that has no template of its own look at faces brought to the teacher's."""
    template = teacher.input_spec.alignment
    if student.input_spec.alignment == "none" and template != "none":
        student.input_spec = student.input_spec.model_copy(update={"alignment": template})
        log.info("student: photographs are aligned as the teacher wants them (%s)", template)


def embed_files(
    teacher: Teacher, config: TrainConfig, root: Path, paths: list[str], device: str
) -> tuple[NDArray[np.float32], Ints]:
    """Embed a few images with a teacher; nothing is kept.

    Returns:
        Unit embeddings (N, T), float32, of those that can be used; and which of `paths` they are, shape (N,), rising.
    """
    loader = ImageLoader(teacher.input_spec, align=config.align, face=config.face, device=device)
    network, vectors, usable = teacher.to(device).network, [], []
    for start in progress(range(0, len(paths), BATCH), "images to judge by", unit=f"x{BATCH}"):
        pixels, outcomes = loader.load([root / path for path in paths[start : start + BATCH]])
        good = np.flatnonzero([outcome.status == "ok" for outcome in outcomes])
        vectors.append(embed_pixels(network, pixels, good, device=device))
        usable.append(start + good)
    return np.concatenate(vectors), np.concatenate(usable)


def teach(
    teacher: Teacher, config: TrainConfig, root: Path, paths: list[str], device: str, run: Path
) -> tuple[NDArray[np.float32], Ints]:
    """Embed images with a teacher, prepared as it wants them, or take what an earlier run kept.

    Args:
        teacher: of the run.
        config: of the run.
        root: what `paths` are relative to.
        paths: the images.
        device: where the teacher runs.
        run: the run folder.

    Returns:
        Embeddings (N, T), float32, rows of unit length, mapped into memory, of the images that the teacher can use;
        and which of `paths` those are, shape (N,), rising.

    Raises:
        DataError: the teacher can use no image; no room on the disk.
    """
    log.info("teacher %s: its embeddings of %d images are computed once", config.teacher, len(paths))
    loader = ImageLoader(teacher.input_spec, align=config.align, face=config.face, device=device)
    with first_goes_ahead():
        store = open_pixel_store(config.cache, config.cache_limit, loader)
        cache = PixelCache(loader, root, paths, run / PIXELS, store=store)
    try:
        usable = np.flatnonzero(cache.usable)
        if not len(usable):
            raise DataError(f"--teacher {config.teacher}: it can use none of {len(paths)} images to train on")
        if len(usable) < len(paths):
            log.warning("%d images cannot be used by the teacher and are left out", len(paths) - len(usable))
        kept = KeptFeatures(config, teacher.to(device), cache.pixels, device, run)
        return kept.get("none", augmenter("none"), 1, usable)[0], usable
    finally:
        cache.close()
