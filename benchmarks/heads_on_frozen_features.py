"""How heads, losses and the ratio of pairs do on frozen features: seconds a run, since the encoder runs once.

    python benchmarks/heads_on_frozen_features.py CROPS PROTOCOL ENCODER

CROPS is LFW as `siamese align` writes it, PROTOCOL the folder with LFW's official files. Trains on the people of
View 1's DevTrain, a tenth held out for validation, features scaled to unit length. Prints for each setting the
validation AUC of the best and of the last epoch, and of the best the AUC and the accuracy on pairsDevTest at the
threshold of the validation pairs.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.device import keep_freed_memory
from siamese.evaluation import metrics
from siamese.evaluation.thresholds import smoothed_accuracy_threshold
from siamese.heads.projection import create_head
from siamese.images.catalog import read_catalog
from siamese.inference.verifier import Verifier
from siamese.losses.batch import BatchIndex, PairIndex, TripletIndex
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.pairing.formats import read_pairs
from siamese.pairing.sampling import sample_pairs, sample_triplets
from siamese.pairing.splits import split_identities
from siamese.pairing.table import unique_images
from siamese.training.pairs import sample_validation_pairs


class TrainedIdentity(nn.Module):
    """z = W0 x + MLP(x) with W0 trained too: what the identity-start head was first designed to be."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.skip = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.skip.weight)
        self.residual = create_head("identity-start", width).residual

    def forward(self, features: Tensor) -> Tensor:
        return self.skip(features) + self.residual(features)


SETTINGS = [
    # head, loss, genuine : impostor
    ("identity-start", "contrastive", (1, 1)),
    ("identity-start", "contrastive", (1, 4)),
    ("identity-start", "contrastive", (1, 9)),
    ("identity-start", "contrastive+margin=1.0", (1, 4)),
    ("identity-start", "triplet", (1, 1)),
    ("trained-identity", "triplet", (1, 1)),
    ("mlp", "contrastive", (1, 9)),
    ("mlp", "triplet", (1, 1)),
]
EPOCHS, BATCH, LR, SEEDS = 10, 32, 1e-4, (0, 1)


class Data:
    """Features of all images, and the rows of validation and test pairs."""

    def __init__(self, crops: Path, protocol: Path, encoder: str) -> None:
        people = read_catalog(crops).restricted_to(protocol / "peopleDevTrain.txt").images
        self.train, held_out = split_identities(people, (0.9, 0.1), 0)
        self.tables = {
            "val": sample_validation_pairs(held_out, 0),
            "test": read_pairs(protocol / "pairsDevTest.txt"),
        }
        images = [*people["path"], *unique_images(self.tables["test"])]
        self.lookup = pd.Index(images)
        embeddings = Verifier.load(encoder, device="cpu").embed([crops / image for image in images])
        self.features = torch.from_numpy(embeddings.vectors)

    def rows(self, table: pd.DataFrame, *columns: str) -> list[Tensor]:
        return [torch.from_numpy(self.lookup.get_indexer(pd.Index(table[column]))) for column in columns]

    def scores(self, head: nn.Module, name: str) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            embeddings = F.normalize(head(self.features), dim=1)
        left, right = self.rows(self.tables[name], "left", "right")
        similarity = (embeddings[left] * embeddings[right]).sum(dim=1)
        return similarity.numpy(), self.tables[name]["same"].to_numpy(dtype=bool)


def figures(data: Data, head: nn.Module) -> tuple[float, float, float]:
    val, test = data.scores(head, "val"), data.scores(head, "test")
    threshold = smoothed_accuracy_threshold(*val)
    return metrics.auc(*val), metrics.auc(*test), metrics.accuracy_at(*test, threshold)


def run(data: Data, name: str, loss: str, ratio: tuple[int, int], seed: int) -> list[tuple[float, float, float]]:
    torch.manual_seed(seed)
    width = data.features.shape[1]
    spec = parse_objective(loss)
    objective = spec.build(LossSize(width, 0))
    head = TrainedIdentity(width) if name == "trained-identity" else create_head(name, width)
    count = len(data.train)
    if spec.needs == {"triplets"}:
        table = sample_triplets(data.train, num_triplets=count, seed=seed)
        columns = data.rows(table, "anchor", "positive", "negative")
    else:
        table = sample_pairs(data.train, num_pairs=count, ratio=ratio, seed=seed)
        columns = data.rows(table, "left", "right")
    optimiser = torch.optim.AdamW(head.parameters(), lr=LR, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * -(-count // BATCH))
    same = None if len(columns) == 3 else torch.tensor(table["same"].to_numpy(dtype=np.float32))
    history = [figures(data, head)]
    for _ in range(EPOCHS):
        for chosen in torch.randperm(count).split(BATCH):
            unique, inverse = torch.unique(torch.stack([column[chosen] for column in columns]), return_inverse=True)
            index = TripletIndex(*inverse) if same is None else PairIndex(*inverse, same[chosen])
            embeddings = F.normalize(head(data.features[unique]), dim=1)
            optimiser.zero_grad()
            objective(embeddings, BatchIndex(index)).total.backward()
            optimiser.step()
            schedule.step()
        history.append(figures(data, head))
    return history


def main() -> None:
    crops, protocol, encoder = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    keep_freed_memory()
    data = Data(crops, protocol, encoder)
    untouched = figures(data, nn.Identity())
    print("untouched: validation AUC {:.4f}, DevTest AUC {:.4f}, accuracy {:.3f}".format(*untouched))
    for name, loss, ratio in SETTINGS:
        for seed in SEEDS:
            history = run(data, name, loss, ratio, seed)
            best = int(np.argmax([row[0] for row in history]))
            line = "validation AUC {:.4f} (best) {:.4f} (last), DevTest AUC {:.4f}, accuracy {:.3f}"
            row = line.format(history[best][0], history[-1][0], *history[best][1:])
            print(f"{name:16} {loss:24} {ratio[0]}:{ratio[1]} seed {seed}: epoch {best:2} {row}", flush=True)


if __name__ == "__main__":
    main()
