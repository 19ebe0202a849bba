import random
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from siamese.training import checkpoint
from siamese.training.averaging import Averaging
from siamese.training.checkpoint import LAST, Checkpoints

from .conftest import Losses, make_parts

PAIRS: dict[str, Any] = {"num_pairs": 42, "batch_size": 8, "freeze": "none"}  # six batches an epoch


def draws() -> list[Any]:
    """What each source of random numbers gives next."""
    return [
        torch.rand(3).tolist(),
        np.random.rand(3).tolist(),  # noqa: NPY002 - the state that libraries draw from
        np.random.standard_normal(1).tolist(),  # noqa: NPY002 - leaves one behind
        [random.random() for _ in range(3)],
        [random.gauss(0, 1)],
    ]


class Drawing(Callback):
    """Draws at every batch, as dropout and mining do."""

    def __init__(self) -> None:
        self.drawn: list[list[Any]] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.drawn.append(draws())


class Written(Checkpoints):
    """Notes after how many batches it wrote."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.batches: list[int] = []

    def write(self, trainer: lightning.Trainer) -> None:
        self.batches.append(trainer.fit_loop.epoch_loop.batch_progress.total.completed + 1)
        super().write(trainer)


class Halt(Callback):
    """Ends the run after a batch, as a kill would just after it."""

    def __init__(self, after: int) -> None:
        self._after = after

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready > self._after:
            raise RuntimeError("killed here")


def test_random_states_come_back_with_a_checkpoint(tmp_path: Path) -> None:
    for _ in range(3):
        draws()
    state = Checkpoints(tmp_path, None, 1, None).state_dict()
    torch.save(state, tmp_path / "state.pt")
    expected = draws()
    assert draws() != expected
    resumed = Checkpoints(tmp_path, None, 1, None)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    before = draws()
    assert before != expected  # not yet: what builds the run may still draw
    trainer: Any = None
    resumed.on_train_start(trainer, None)
    assert draws() == expected


@pytest.mark.parametrize(
    ("every", "accumulate", "batches"),
    [
        (2, 1, [2, 4]),  # not after the sixth: the end of the epoch writes its own
        (1, 1, [1, 2, 3, 4, 5]),
        (4, 1, [4]),
        (1, 2, [2, 4]),  # not among gradients in the making
        (2, 2, [4]),
        (1, 4, [4]),
        (None, 1, []),
    ],
)
def test_checkpoints_are_written_between_steps_as_often_as_asked_for(
    people: Path, tmp_path: Path, every: int | None, accumulate: int, batches: list[int]
) -> None:
    parts = make_parts(people, tmp_path, epochs=1, accumulate=accumulate, **PAIRS)
    written = Written(tmp_path, every, accumulate, None)
    parts.train(written)
    assert written.batches == batches
    assert (tmp_path / LAST).is_file() is bool(batches)
    assert [file.name for file in tmp_path.iterdir() if "last" in file.name] == ([LAST] if batches else [])


def test_without_a_number_of_steps_the_clock_decides(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_INTERVAL", 0.0)
    written = Written(tmp_path, None, 1, None)
    make_parts(people, tmp_path, epochs=1, **PAIRS).train(written)
    assert written.batches == [1, 2, 3, 4, 5]


def test_a_run_that_is_to_end_writes_one_at_once(people: Path, tmp_path: Path) -> None:
    class End(Callback):
        def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
            trainer.should_stop = True

    written = Written(tmp_path, None, 1, None)
    make_parts(people, tmp_path, epochs=2, **PAIRS).train(End(), written)
    assert written.batches == [1]


def test_nothing_in_a_checkpoint_needs_unpickling_and_no_weight_is_in_it_twice(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, epochs=1, ema=0.9, **PAIRS)
    parts.train(Averaging(), Checkpoints(tmp_path, 2, 1, parts.module.average))
    known = torch.load(tmp_path / LAST, weights_only=True)
    assert set(known["state_dict"]) == {f"trained.{name}" for name in parts.module.trained.state_dict()}


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2, "schedule": "one-cycle"}, {"ema": 0.8, "optimizer": "sgd"}]
)
def test_a_run_that_ends_anywhere_goes_on_to_the_same_end(
    people: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    def run(folder: Path, *more: Callback, resumed: bool = False) -> tuple[Losses, Drawing, dict[str, Any]]:
        parts = make_parts(
            people, folder, epochs=2, loss="pairwise", pair_head="difference", pair_hidden=8, pair_dropout=0.5,
            **options, **PAIRS,
        )  # fmt: skip
        losses, drawing = Losses(), Drawing()
        checkpoints = Checkpoints(folder, 2, parts.config.accumulate, parts.module.average)
        averaging = [Averaging()] if parts.module.average is not None else []
        np.random.seed(0)  # noqa: NPY002 - the state that libraries draw from
        random.seed(0)
        try:
            parts.train(
                losses, drawing, *averaging, *more, checkpoints, checkpoint=folder / LAST if resumed else None
            )
        except RuntimeError as error:
            assert "killed here" in str(error)
        state = dict(parts.module.trained.state_dict())
        if parts.module.average is not None:
            state |= {f"average {name}": each for name, each in parts.module.average.state_dict().items()}
        return losses, drawing, state

    whole = run(tmp_path / "whole")
    for after in (5, 9):
        folder = tmp_path / str(after)
        first = run(folder, Halt(after))
        rest = run(folder, resumed=True)
        done = len(whole[0].values) - len(rest[0].values)
        assert 2 <= done <= after
        assert first[0].values[:done] + rest[0].values == whole[0].values
        assert rest[0].rows == whole[0].rows[done:]
        assert rest[1].drawn == whole[1].drawn[done:]
        assert all(torch.equal(each, whole[2][name]) for name, each in rest[2].items())
