import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning
import pytest
from lightning.pytorch.callbacks import Callback

from siamese.training import stop as module
from siamese.training.checkpoint import LAST, Checkpoints
from siamese.training.keeper import BestKeeper
from siamese.training.stop import Stop, stoppable

from .conftest import Losses, make_parts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_its_echo_does_nothing_and_a_later_one_aborts(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ONE_WISH", 0.2)
    stop = Stop(cast(Any, SimpleNamespace(stopped=False)))
    before = signal.getsignal(number)
    with stoppable(stop):
        signal.raise_signal(number)
        assert stop.asked
        signal.raise_signal(number)
        time.sleep(0.3)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
    assert caplog.messages == ["stopping after this batch, with the best so far (Ctrl-C again aborts)"]


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    inside: list[Any] = []

    def work() -> None:
        with stoppable(Stop(cast(Any, None))):
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]


class Ask(Callback):
    """Sends this process a signal at a batch, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self._after = after

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready == self._after:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("after", "batches", "stopped"), [(2, 2, True), (4, 4, True), (8, 8, True)])
def test_a_run_ends_after_the_batch_in_hand(
    people: Path, tmp_path: Path, after: int, batches: int, stopped: bool
) -> None:
    parts = make_parts(people, tmp_path, num_pairs=32, batch_size=8, freeze="none", epochs=2)
    checkpoints = Checkpoints(tmp_path, None, 1, None)
    keeper, losses = BestKeeper(parts.validation(), tmp_path, checkpoints), Losses()
    keeper.record(parts.network)
    stop = Stop(keeper)
    with stoppable(stop):
        parts.train(losses, keeper, stop, checkpoints, Ask(after))
    assert len(losses.values) == batches
    assert keeper.stopped is stopped
    assert len(keeper.history) == (2 if batches <= 4 else 3)  # what was trained last is evaluated too
    if batches % 4:
        assert (tmp_path / LAST).is_file()
