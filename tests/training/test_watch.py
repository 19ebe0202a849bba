import signal
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from siamese.training import watch
from siamese.training.watch import stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_its_echo_does_nothing_and_a_later_one_aborts(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "ONE_WISH", 0.2)
    trainer = cast(Any, SimpleNamespace(callbacks=[], should_stop=False))
    keeper = cast(Any, SimpleNamespace(stopped=False))
    before = signal.getsignal(number)
    with stoppable(trainer, keeper):
        signal.raise_signal(number)
        assert trainer.should_stop
        assert keeper.stopped
        signal.raise_signal(number)
        time.sleep(0.3)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
