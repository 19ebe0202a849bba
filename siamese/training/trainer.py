"""Lightning's trainer, as a run needs it."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

from siamese.config import TrainConfig
from siamese.errors import DeviceError
from siamese.training.module import SiameseModule
from siamese.training.plans import Share

_PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
# Few workers are a choice here (pixels are in memory), so is a GPU left idle, and frozen modules stay in evaluation
# on purpose.
_QUIET = (
    ".*does not have many workers.*",
    "GPU available but not used.*",
    ".*in eval mode.*",
    ".*LeafSpec.*",
    ".*your dataloader is not resumable.*",  # batches follow from seed, epoch and number
)


def create_trainer(config: TrainConfig, callbacks: list[Callback], device: str, share: Share) -> lightning.Trainer:
    """A trainer for one process, or for its share of a run of several.

    Args:
        config: of the run.
        callbacks: in the order in which they are called.
        device: of this process.
        share: which process this is, of how many.

    Raises:
        DeviceError: a precision that the device does not have.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    kind, _, number = device.partition(":")
    if config.precision == "fp16" and kind == "cpu":
        raise DeviceError("--precision fp16 needs a GPU; on a CPU use float32 or bf16")
    default = "float32" if kind == "cpu" else "bf16"
    one = 1 if kind == "cpu" else [int(number)]
    return lightning.Trainer(
        accelerator="cpu" if kind == "cpu" else "gpu",
        **_strategy(share) if share.world > 1 else {"devices": one},
        precision=_PRECISIONS[default if config.precision == "auto" else config.precision],  # type: ignore[arg-type]
        max_epochs=config.epochs,
        callbacks=callbacks,
        logger=False,
        gradient_clip_val=config.clip,
        accumulate_grad_batches=config.accumulate,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,  # every process has its share of every batch already
    )


def _strategy(share: Share) -> dict[str, Any]:
    here = int(os.environ.get("LOCAL_WORLD_SIZE", share.world))
    # Every process computes the loss of the whole batch, but not every parameter need be in it (proxies of nobody).
    return {
        "strategy": DDPStrategy(find_unused_parameters=True),
        "devices": here,
        "num_nodes": share.world // here,
    }


def fit(trainer: lightning.Trainer, module: SiameseModule, checkpoint: Path | None) -> None:
    """Train from the beginning, or from a checkpoint; nothing in it is unpickled."""
    with warnings.catch_warnings():
        for message in _QUIET:
            warnings.filterwarnings("ignore", message=message)
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
