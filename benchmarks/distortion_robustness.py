"""How much of what damage costs a frozen encoder a head wins back: minutes to encode, then seconds a run.

    python benchmarks/distortion_robustness.py CROPS PROTOCOL ENCODER [--views K] [--seeds N] [--kinds]

CROPS is LFW as `siamese align` writes it, PROTOCOL the folder with LFW's official files. An identity-start head
trains on the features of K views, by preset `distortion`, of the people of View 1's DevTrain, a tenth of them held
out. It is read on pairsDevTest: untouched images, then one image of each pair damaged (the mean of left and right),
then both, by `distort` with seeds of its own (the mean of three). `back` is the share of the lost AUC that came back;
accuracy is of clean pairs at the threshold of the clean validation pairs. No epoch is chosen: the last one counts.
`--kinds` adds what each kind of damage costs, before and after the last head.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from siamese.device import keep_freed_memory
from siamese.evaluation import metrics
from siamese.evaluation.thresholds import smoothed_accuracy_threshold
from siamese.heads.projection import create_head
from siamese.images.augment import augmenter, view_seeds
from siamese.images.catalog import read_catalog
from siamese.images.distortion import KINDS, distort
from siamese.images.loader import ImageLoader
from siamese.inference.verifier import Verifier
from siamese.losses.batch import BatchIndex
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.model.embedding import embed_pixels
from siamese.model.network import SiameseNetwork
from siamese.pairing.formats import read_pairs
from siamese.pairing.splits import split_identities
from siamese.pairing.table import unique_images
from siamese.training.pairs import sample_validation_pairs
from siamese.training.plans import IdentityPlan
from siamese.training.sources import FeatureSource, Views

Features = NDArray[np.float32]
TEST_SEEDS = (101, 102, 103)


@dataclass(frozen=True)
class Setting:
    loss: str
    lr: float
    epochs: int
    batch_size: int = 256
    images_per_identity: int = 4
    weight_decay: float = 1e-4


SETTINGS = [
    Setting("sup_con", 1e-3, 20),
    Setting("triplet+mining=semihard", 1e-3, 20),
    Setting("multi_similarity", 1e-3, 20),
    Setting("circle", 1e-3, 20),
    Setting("contrastive", 3e-4, 20),
    Setting("contrastive", 2e-3, 20),
    Setting("contrastive", 1e-3, 20),  # the recipe
]


@dataclass(frozen=True)
class Pairs:
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pd.DataFrame, images: pd.Index) -> "Pairs":
        left, right = (images.get_indexer(pd.Index(table[name])) for name in ("left", "right"))
        return cls(left, right, table["same"].to_numpy(dtype=bool))

    def scores(self, left: Features, right: Features) -> NDArray[np.float32]:
        return np.einsum("nd,nd->n", left[self.left], right[self.right])

    def auc(self, left: Features, right: Features) -> float:
        return metrics.auc(self.scores(left, right), self.same)


@dataclass(frozen=True)
class Figures:
    """AUC of the clean, of pairs with one image damaged, with both; accuracy on the clean."""

    clean: float
    one: float
    both: float
    accuracy: float


class Data:
    """Features of a frozen encoder: those that train, those held out, and those of the test."""

    def __init__(self, crops: Path, protocol: Path, encoder: str, views: int, kinds: bool) -> None:
        self.network: SiameseNetwork = Verifier.load(encoder, device="cpu").network
        people = read_catalog(crops).restricted_to(protocol / "peopleDevTrain.txt").images
        train, held_out = split_identities(people, (0.9, 0.1), 0)
        several = train["identity"].duplicated(keep=False).to_numpy()
        train = train[several].reset_index(drop=True)  # batches of identities take no other
        self.labels = pd.factorize(train["identity"])[0]
        pixels = self._pixels(crops, train)
        self.views = np.stack([self._encode(self._view(pixels, number)) for number in range(views)])
        self.held_out = self._encode(self._pixels(crops, held_out))
        self.validation = Pairs.of(sample_validation_pairs(held_out, 0), pd.Index(held_out["path"]))
        table = read_pairs(protocol / "pairsDevTest.txt")
        images = pd.DataFrame({"path": unique_images(table)})
        pixels = self._pixels(crops, images)
        self.test = Pairs.of(table, pd.Index(images["path"]))
        self.clean = self._encode(pixels)
        self.damaged = [self._encode(self._damage(pixels, seed, None)) for seed in TEST_SEEDS]
        chosen = KINDS if kinds else ()
        self.by_kind = {kind: self._encode(self._damage(pixels, TEST_SEEDS[0], [kind])) for kind in chosen}

    def _pixels(self, crops: Path, images: pd.DataFrame) -> NDArray[np.uint8]:
        return ImageLoader(self.network.input_spec).load([crops / path for path in images["path"]])[0]

    def _encode(self, pixels: NDArray[np.uint8]) -> Features:
        return embed_pixels(self.network, pixels)

    def _view(self, pixels: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        rows = np.arange(len(pixels))
        return augmenter("distortion")(pixels, view_seeds(0, rows, np.full(len(rows), number)))

    def _damage(self, pixels: NDArray[np.uint8], seed: int, kinds: list[str] | None) -> NDArray[np.uint8]:
        rows = np.arange(len(pixels))
        return distort(pixels, view_seeds(seed, rows, np.zeros_like(rows)), kinds)[0]

    def figures(self, head: nn.Module) -> Figures:
        held_out, clean = embedded(head, self.held_out), embedded(head, self.clean)
        threshold = smoothed_accuracy_threshold(self.validation.scores(held_out, held_out), self.validation.same)
        one, both = zip(*(self.damage(head, damaged) for damaged in self.damaged), strict=True)
        accuracy = metrics.accuracy_at(self.test.scores(clean, clean), self.test.same, threshold)
        return Figures(self.test.auc(clean, clean), float(np.mean(one)), float(np.mean(both)), accuracy)

    def damage(self, head: nn.Module, features: Features) -> tuple[float, float]:
        """AUC with one image of each pair damaged, and with both."""
        clean, damaged = embedded(head, self.clean), embedded(head, features)
        one = (self.test.auc(clean, damaged) + self.test.auc(damaged, clean)) / 2
        return one, self.test.auc(damaged, damaged)


@torch.no_grad()
def embedded(head: nn.Module, features: Features) -> Features:
    return F.normalize(head(torch.from_numpy(features)), dim=1).numpy()


def steps(data: Data, setting: Setting, seed: int) -> Iterator[tuple[torch.Tensor, BatchIndex]]:
    rows = np.arange(len(data.labels))
    plan = IdentityPlan(
        rows, data.labels, batch_size=setting.batch_size, images_per_identity=setting.images_per_identity
    )
    source, number = FeatureSource(data.views, rows, Views(seed, len(data.views))), 0
    for epoch in range(setting.epochs):
        for items in plan.epoch(seed, epoch):
            chosen = plan.select(items)
            yield source.take(chosen.rows, number), BatchIndex(labels=torch.from_numpy(chosen.labels))
            number += 1


def train(data: Data, setting: Setting, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    width = data.clean.shape[1]
    head = create_head("identity-start", width)
    objective = parse_objective(setting.loss).build(LossSize(width, int(data.labels.max()) + 1))
    parameters = [*head.parameters(), *objective.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=setting.lr, weight_decay=setting.weight_decay)
    batches = list(steps(data, setting, seed))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(batches))
    for features, index in batches:
        optimiser.zero_grad()
        objective(F.normalize(head(features), dim=1), index).total.backward()
        optimiser.step()
        schedule.step()
    return head


def report(name: str, figures: Figures, untouched: Figures) -> str:
    row = f"{name:52} clean {figures.clean:.4f} one {figures.one:.4f} both {figures.both:.4f}"
    back = [
        (after - before) / (untouched.clean - before)
        for after, before in ((figures.one, untouched.one), (figures.both, untouched.both))
    ]
    return f"{row} accuracy {figures.accuracy:.3f} back {back[0]:4.0%} {back[1]:4.0%}"


def mean(figures: list[Figures]) -> Figures:
    return Figures(*np.mean([[row.clean, row.one, row.both, row.accuracy] for row in figures], axis=0).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path)
    parser.add_argument("protocol", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()
    data = Data(options.crops, options.protocol, options.encoder, options.views, options.kinds)
    untouched = data.figures(nn.Identity())
    print(report("untouched", untouched, untouched), flush=True)
    head: nn.Module = nn.Identity()
    for setting in SETTINGS:
        name = f"{setting.loss} lr {setting.lr:g}, {setting.epochs} epochs"
        found = []
        for seed in range(options.seeds):
            head = train(data, setting, seed)
            found.append(data.figures(head))
            print(report(f"{name}, seed {seed}", found[-1], untouched), flush=True)
        print(report(f"{name}: mean", mean(found), untouched), flush=True)
    for kind, features in data.by_kind.items():  # of the last setting
        before, after = data.damage(nn.Identity(), features), data.damage(head, features)
        print(f"{kind:16} one {before[0]:.4f} -> {after[0]:.4f}  both {before[1]:.4f} -> {after[1]:.4f}", flush=True)


if __name__ == "__main__":
    main()
