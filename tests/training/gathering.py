"""What each of several processes does in `test_gather.py`: gradients of its share of batches, by DDP over gloo."""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from siamese.config import make_train_config
from siamese.encoders.encoder import Encoder
from siamese.images.augment import augmenter
from siamese.images.input_spec import InputSpec
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.model.network import SiameseNetwork
from siamese.training.batches import EpochBatches
from siamese.training.lessons import Lessons
from siamese.training.module import SiameseModule
from siamese.training.plans import IdentityPlan, ImagePlan, Plan, Share, TuplePlan
from siamese.training.processes import answered_by_first, any_process, first_goes_ahead, joined, share
from siamese.training.sources import PixelSource, Views
from siamese.training.tuples import Tuples

SPEC = InputSpec(size=(8, 8))
IDENTITIES = 6
# What batches are made of, and how large they are: odd, so that shares differ, or one, so that some have nothing.
CASES: dict[str, tuple[str, int, str | None]] = {
    "contrastive": ("pairs", 7, None),
    "contrastive+form=cosine": ("pairs", 1, None),
    "pairwise": ("pairs", 9, "difference+product"),  # with dropout
    "triplet": ("triplets", 5, None),
    "quadruplet": ("quadruplets", 3, None),
    "triplet+mining=hard": ("identities", 9, None),
    "triplet+mining=distance": ("identities", 12, None),
    "multi_similarity": ("identities", 11, None),
    "sup_con": ("identities", 15, None),
    "arcface:1.0+center:0.1": ("identities", 9, None),
    "cross_entropy:1.0+triplet:0.5+mining=all": ("identities", 7, None),
    "distill": ("images", 11, None),
    "distill:2+arcface:0.5": ("images", 1, None),
    "contrastive+distill+cosine=0": ("pairs", 7, None),
}


class Plain(Encoder):
    """One layer on all pixels, and no statistics of the batch; images of noise lie far apart in its features."""

    def __init__(self) -> None:
        super().__init__("plain", SPEC, 6)
        self.layer = nn.Linear(192, 6)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = torch.tanh(self.layer(images.flatten(1)))
        return features

    def stages(self) -> list[list[nn.Module]]:
        return [[self.layer]]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        raise NotImplementedError


def plan(what: str, size: int) -> Plan:
    rng = np.random.default_rng(0)
    images = 30
    labels = np.arange(images) % IDENTITIES
    if what == "images":
        return ImagePlan(np.arange(images), np.where(labels == 2, -1, labels), size)
    if what == "identities":
        return IdentityPlan(np.arange(images), labels, batch_size=size, images_per_identity=3)
    width = {"pairs": 2, "triplets": 3, "quadruplets": 4}[what]
    rows = rng.integers(0, images, (20, width))
    return TuplePlan(Tuples(rows, rng.random(20) < 0.5 if width == 2 else None), size)


def module(text: str, part: Share) -> SiameseModule:
    what, size, pair_head = CASES[text]
    torch.manual_seed(0)
    network = SiameseNetwork(Plain(), "mlp", 8, pair_head=pair_head, pair_hidden=8, pair_dropout=0.5)
    objective = parse_objective(text).build(LossSize(8, IDENTITIES, 8), pair_logits=network.pair_head)
    taught = np.random.default_rng(2).normal(size=(30, 8)).astype(np.float32)
    taught /= np.linalg.norm(taught, axis=1, keepdims=True)
    lessons = Lessons(taught, np.arange(30)) if "distill" in text else None
    pixels = np.random.default_rng(1).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    source = PixelSource(pixels, SPEC, augmenter("light"), Views(0, None))

    def batches(epoch: int) -> EpochBatches:
        return EpochBatches(plan(what, size), source, seed=0, epoch=epoch, share=part, lessons=lessons)

    teacher = {"teacher": "none"} if "distill" in text else {}
    config = make_train_config({"data": "none", "loss": text, **teacher})
    return SiameseModule(network, objective, config, batches=batches, epochs=1)


class Step(nn.Module):
    """A training step as DDP wants it: as a forward pass."""

    def __init__(self, made: SiameseModule) -> None:
        super().__init__()
        self.made = made

    def forward(self, batch: Any) -> Tensor:
        return self.made.training_step(batch, 0)


def figures(text: str, part: Share) -> dict[str, Any]:
    """Loss, rows and gradients of a batch, of all processes together."""
    made = module(text, part)
    step: nn.Module = Step(made)
    if part.world > 1:
        step = nn.parallel.DistributedDataParallel(step, find_unused_parameters=True)
    batch = made._batches(0)[1]
    step(batch).backward()
    assert made.last is not None
    gradients = {name: each.grad for name, each in made.trained.named_parameters() if each.grad is not None}
    return {
        "loss": made.last.value.total,
        "rows": made.last.rows,
        "own": torch.tensor(len(batch.rows)),
        "embeddings": made.last.embeddings,
        "gradients": gradients,
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as device:
        part = share()
        found = {text: figures(text, part) for text in CASES}
        marker = folder / "first was here"
        with first_goes_ahead():
            saw = marker.exists()
            marker.touch()
        told = answered_by_first(lambda: f"of {part.rank}")
        wish = any_process(part.rank == part.world - 1, torch.device(device))
        none = any_process(False, torch.device(device))
        said = {"saw": saw, "told": told, "wish": wish, "none": none, "rank": part.rank, "world": part.world}
        torch.save({"cases": found, "said": said}, folder / f"{part.rank}.pt")
    assert not dist.is_initialized()


def in_processes(folder: Path, world: int, port: int) -> None:
    """Runs `main` in so many processes, forked from this one, which has imported all that they need."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(world))
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            os.environ["RANK"] = str(rank)
            status = 1
            try:
                main(folder)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    ended = [os.waitpid(child, 0)[1] for child in children]
    if any(ended):
        sys.exit(1)


if __name__ == "__main__":
    in_processes(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
