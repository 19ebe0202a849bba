"""The network and its objective as Lightning sees them."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from siamese.config import TrainConfig
from siamese.losses.batch import BatchIndex
from siamese.losses.loss import LinearClassifier
from siamese.losses.objective import Objective, ObjectiveValue
from siamese.model.layers import parameter_groups
from siamese.model.network import SiameseNetwork
from siamese.training.averaging import WeightAverage
from siamese.training.batches import Batch, EpochBatches, batch_index, epoch_loader
from siamese.training.gather import gather_batch
from siamese.training.optimise import create_optimizer, create_schedule


@dataclass(frozen=True)
class StepFigures:
    """What a training step came to, for those who watch.

    Attributes:
        embeddings: of the batch, shape (U, D), detached; of all processes together.
        index: which of them belong together.
        value: total, terms, and the share of tuples that still cost something; detached.
        rows: which images, shape (U,).
    """

    embeddings: Tensor
    index: BatchIndex
    value: ObjectiveValue
    rows: Tensor


class SiameseModule(lightning.LightningModule):
    """One training step: encode the batch's unique images once, then the objective on what belongs together.

    Args:
        network: what is trained.
        objective: what is minimised.
        config: optimiser, schedule and what else decides a step.
        batches: the batches of an epoch, counted from 0.
        epochs: of the whole run.
        cached: whether batches hold features of a frozen encoder instead of images.

    Attributes:
        trained: network and objective.
        average: the moving average of their weights; None without one.
        last: of the step in hand; None before the first one.
    """

    def __init__(
        self,
        network: SiameseNetwork,
        objective: Objective,
        config: TrainConfig,
        *,
        batches: Callable[[int], EpochBatches],
        epochs: int,
        cached: bool = False,
    ) -> None:
        super().__init__()
        # The loss learns too (class weights, scales): what is averaged and saved is both.
        self.trained = nn.ModuleDict({"network": network, "objective": objective})
        self.average = None if config.ema is None else WeightAverage(self.trained, config.ema)
        self.last: StepFigures | None = None
        self._config, self._batches, self._epochs = config, batches, epochs
        # Methods: a module kept here would be in every checkpoint twice.
        self._embed: Callable[[Tensor], Tensor] = network.project if cached else network.forward
        if config.compile:
            self._embed = torch.compile(self._embed, dynamic=True)  # unique images differ from batch to batch
        self._channels_last = config.channels_last and not cached
        if self._channels_last:
            network.encoder.to(memory_format=torch.channels_last)

    @property
    def network(self) -> SiameseNetwork:
        """What is trained."""
        return self.trained["network"]  # type: ignore[return-value]

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return self.trained["objective"]  # type: ignore[return-value]

    @contextmanager
    def evaluated(self) -> Iterator[SiameseNetwork]:
        """The network as it is judged and saved: its averaged weights, its identity head filled by the loss."""
        with nullcontext() if self.average is None else self.average.applied(self.trained):
            fill_identity_head(self.network, self.objective)
            yield self.network

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of the epoch that begins; of a resumed one those that are left."""
        batches = self._batches(self.current_epoch)
        loop = self.trainer.fit_loop
        done = loop.epoch_loop.batch_progress.current.ready if loop.restarting else 0
        return epoch_loader(
            batches,
            start=done if done < len(batches) else 0,
            workers=self._config.workers,
            pin=self.device.type == "cuda",
        )

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """The loss of one batch; in a run of several processes, of the batch that they make up together."""
        inputs = batch.inputs
        if self._channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        embeddings, batch = gather_batch(self._embed(inputs)[: len(batch.rows)], batch)
        index = batch_index(batch)
        value: ObjectiveValue = self.objective(embeddings, index)
        figures = replace(value, total=value.total.detach())
        self.last = StepFigures(embeddings.detach(), index, figures, batch.rows)
        return value.total

    def configure_optimizers(self) -> Any:
        """The optimiser on what is not frozen, layer by layer, and its schedule."""
        config = self._config
        groups = parameter_groups(self.network, config.lr, config.layer_decay, config.weight_decay)
        own = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
        if own:  # scales, class weights, proxies: they start from less than the network does
            groups.append({"params": own, "lr": config.lr * config.loss_lr, "weight_decay": 0.0})
        optimiser = create_optimizer(
            groups, config.optimizer, lr=config.lr, weight_decay=config.weight_decay, momentum=config.momentum
        )
        steps = -(-len(self._batches(0)) // config.accumulate)
        return {
            "optimizer": optimiser,
            "lr_scheduler": create_schedule(
                optimiser,
                config.schedule,
                steps_per_epoch=steps,
                epochs=self._epochs,
                warmup=config.warmup,
                step_epochs=config.step_epochs,
                gamma=config.gamma,
            ),
        }


def classifier_of(objective: Objective) -> LinearClassifier | None:
    """What decides identities: the classifier of the loss that weighs most; None where no loss has one."""
    losses = objective.class_losses
    if not losses:
        return None
    return losses[max(losses, key=lambda name: objective.weights[name])].classifier()


def fill_identity_head(network: SiameseNetwork, objective: Objective) -> None:
    """Give the network's identity head, where there is one, what the loss has learnt; NaN where that has diverged."""
    classifier = classifier_of(objective)
    head = network.identity_head
    if head is None or classifier is None:
        return
    if classifier.weight.isfinite().all() and classifier.bias.isfinite().all():
        head.fill(classifier)
    else:
        head.weight.fill_(math.nan)  # so that it is measured as what it is, and the run ends with the best so far
