"""The hand that stops a run: the first Ctrl-C or SIGTERM ends it after the batch in hand, a second aborts."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from siamese.progress import log
from siamese.training.keeper import BestKeeper
from siamese.training.processes import any_process

# Seconds within which signals to stop count as the same one.
ONE_WISH = 1.0


Handler = Callable[[int, FrameType | None], None]


class Stop(Callback):
    """Ends a run after the batch in hand once it was asked to, in all of its processes at the same batch.

    Args:
        keeper: is told that the run did not end by itself.
    """

    def __init__(self, keeper: BestKeeper) -> None:
        self._keeper = keeper
        self.asked = False
        self.handlers: dict[signal.Signals, Handler] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Set the handlers anew: Lightning puts one of its own around that of SIGTERM, which ends the process without
        a model, and has done so by now.
        """
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End here if it was asked for."""
        if any_process(self.asked, pl_module.device):
            self._keeper.stopped = True
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """End here if it was asked for while the epoch was evaluated; after the last one there is nothing to end."""
        if any_process(self.asked, pl_module.device) and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            self._keeper.stopped = True
            trainer.should_stop = True


@contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end training after the batch in hand, with the best so far; a second aborts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    asked: list[float] = []

    def hear(number: int, frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            # `timeout` and some schedulers signal the process and its group: that is one wish, not two.
            if asked[-1] - asked[0] > ONE_WISH:
                raise KeyboardInterrupt
            return
        log.warning("stopping after this batch, with the best so far (Ctrl-C again aborts)")
        stop.asked = True

    before = {each: signal.signal(each, hear) for each in (signal.SIGINT, signal.SIGTERM)}
    stop.handlers = dict.fromkeys(before, hear)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
