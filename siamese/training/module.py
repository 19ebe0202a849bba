"""The network and its objective as Lightning sees them."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from siamese.losses.registry import Objective
from siamese.model.network import SiameseNetwork
from siamese.training.batches import Batch, EpochBatches, batch_index


class SiameseModule(lightning.LightningModule):
    """One training step: encode the batch's unique images once, then the objective on their index tuples.

    Args:
        network: what is trained.
        objective: what is minimised.
        lr: learning rate at the start of the cosine annealing (Loshchilov and Hutter 2017), which ends at zero.
        weight_decay: decoupled weight decay of AdamW.
        epochs: of the whole run.
        batches: the batches of an epoch, counted from 0.
        workers: processes that prepare batches.
    """

    def __init__(
        self,
        network: SiameseNetwork,
        objective: Objective,
        *,
        lr: float,
        weight_decay: float,
        epochs: int,
        batches: Callable[[int], EpochBatches],
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self._objective = objective
        self._lr, self._weight_decay = lr, weight_decay
        self._epochs, self._batches, self._workers = epochs, batches, workers

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of the epoch that begins, made by the dataset itself."""
        return DataLoader(self._batches(self.current_epoch), batch_size=None, num_workers=self._workers)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """The loss of one batch."""
        images, *columns = batch
        return self._objective(self.network(images), batch_index(self._objective.needs, tuple(columns)))

    def configure_optimizers(self) -> Any:
        """AdamW on what is not frozen, annealed at every step."""
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=self._lr, weight_decay=self._weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=self._epochs * len(self._batches(0)))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
