"""A small data set of rendered identities, and encoders and networks that train on it in a moment."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.config import TrainConfig, make_train_config
from siamese.demo.folder import write_identities
from siamese.encoders.encoder import Encoder
from siamese.images.input_spec import InputSpec
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.model.network import SiameseNetwork
from siamese.training.batches import EpochBatches
from siamese.training.build import batch_kind, build_network
from siamese.training.data import RunData, read_run_data
from siamese.training.identity_head import give_identity_head
from siamese.training.inputs import Inputs, prepare_inputs
from siamese.training.module import SiameseModule
from siamese.training.pairs import prepare_pairs
from siamese.training.plans import Share
from siamese.training.trainer import create_trainer, fit
from siamese.training.validation import Validation

SPEC = InputSpec(size=(16, 16), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


class TinyEncoder(Encoder):
    """Two convolutions, a stage each, without statistics of the batch; counts the images that it has seen."""

    def __init__(self, seed: int = 0, features: int = 12) -> None:
        super().__init__("tiny", SPEC, features)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 8, 3, stride=2)
            self.second = nn.Conv2d(8, features, 3, stride=2)
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        features: Tensor = self.second(torch.tanh(self.first(images))).mean(dim=(2, 3))
        return features

    def stages(self) -> list[list[nn.Module]]:
        return [[self.first], [self.second]]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        self.load_state_dict(state)


@pytest.fixture
def tiny_encoder() -> TinyEncoder:
    return TinyEncoder()


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve identities of six images, 32 x 32, in folders."""
    folder = tmp_path_factory.mktemp("people") / "data"
    write_identities(folder, identities=12, images=6, seed=1, size=32)
    return folder


@pytest.fixture(scope="session")
def noise() -> NDArray[np.uint8]:
    """Thirty images of nothing, 16 x 16."""
    return np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)


def make_data(people: Path, folder: Path, **values: Any) -> tuple[TrainConfig, RunData]:
    """What a run on the rendered identities trains and validates on, read for the tiny encoder."""
    known = {"data": people, "cache": "off", "val_share": 0.3, "lr": 0.01, "augment": "none", "head": "mlp"}
    if "val_images" in values or "val_pairs" in values:
        known.pop("val_share")
    config = make_train_config(known | values)
    pairs = prepare_pairs(config, kind=batch_kind(config, parse_objective(config.objective)), folder=folder)
    return config, read_run_data(config, SPEC, pairs, "cpu", folder)


@dataclass(frozen=True)
class Parts:
    """A run on the tiny encoder, ready to train."""

    config: TrainConfig
    data: RunData
    network: SiameseNetwork
    inputs: Inputs
    module: SiameseModule
    folder: Path

    def validation(self) -> Validation:
        return Validation(self.inputs.images, self.data.val, self.data.held_out, self.inputs.damaged)

    def trainer(self, *callbacks: Callback) -> lightning.Trainer:
        return create_trainer(self.config, list(callbacks), "cpu", Share())

    def train(self, *callbacks: Callback, checkpoint: Path | None = None) -> lightning.Trainer:
        trainer = self.trainer(*callbacks)
        self.network.train()
        fit(trainer, self.module, checkpoint)
        return trainer


def make_parts(people: Path, folder: Path, **values: Any) -> Parts:
    """All that a run consists of, from the same seed in the same way each time."""
    config, data = make_data(people, folder, **values)
    spec = parse_objective(config.objective)
    torch.manual_seed(config.seed)
    network = build_network(TinyEncoder(), config)
    inputs = prepare_inputs(config, network, data, "cpu", folder, means=spec.classes)
    objective = spec.build(LossSize(network.embedding_dim, len(data.identities)), pair_logits=network.pair_head)
    give_identity_head(network, objective)
    plan = data.plan(config, batch_kind(config, spec), singles=spec.classes)

    def batches(epoch: int) -> EpochBatches:
        return EpochBatches(plan, inputs.source, seed=config.seed, epoch=epoch)

    module = SiameseModule(network, objective, config, batches=batches, epochs=config.epochs, cached=inputs.cached)
    return Parts(config, data, network, inputs, module, folder)


class Losses(Callback):
    """The loss of every batch, and the images it showed."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.rows: list[list[int]] = []
        self.embeddings: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.values.append(float(pl_module.last.value.total))
        self.rows.append(pl_module.last.rows.tolist())
        self.embeddings.append(pl_module.last.embeddings)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from more, and sums of one thread are the same each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
