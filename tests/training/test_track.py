import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor, nn

from siamese.losses.objective import ObjectiveValue
from siamese.training.track import FLUSH_EVERY, TRACK_EVERY, Tracker, TrackEvaluations, TrackSteps, gradient_norm


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "steps.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


class Recorder(DummyLogger):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[int, dict[str, float]]] = []
        self.ended: list[str] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:  # type: ignore[override]
        self.given.append((step, metrics))

    def finalize(self, status: str) -> None:
        self.ended.append(status)


class Failing(DummyLogger):
    """A server that went away."""

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("nobody\nthere")


# Tracker


def test_tensors_numbers_and_what_was_not_measured_become_cells(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, ["triplet"])
    weight = torch.tensor([2.0], requires_grad=True)
    tracker.step(1, 1, {"loss": (weight * 0.25).sum(), "loss/triplet": torch.tensor([[0.125]]), "active": None})
    tracker.step(2, 1, {"loss": 0.5, "lr": 1e-4, "gap": torch.tensor(3, dtype=torch.int64)})
    tracker.flush()
    first, second = rows_of(tmp_path)
    assert (first["step"], first["epoch"], first["loss"], first["loss/triplet"], first["active"]) == (
        *("1", "1", "0.5", "0.125", ""),
    )
    assert (second["loss"], second["loss/triplet"], second["lr"], second["gap"]) == ("0.5", "", "0.0001", "3")


def test_rows_are_written_when_enough_wait_or_when_asked(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    for step in range(1, FLUSH_EVERY):
        tracker.step(step, 1, {"loss": 1.0})
    assert not (tmp_path / "steps.csv").exists()
    tracker.step(FLUSH_EVERY, 1, {"loss": 1.0})
    assert len(rows_of(tmp_path)) == FLUSH_EVERY
    tracker.step(FLUSH_EVERY + 1, 2, {"loss": 1.0})
    tracker.flush()
    tracker.flush()
    assert len(rows_of(tmp_path)) == FLUSH_EVERY + 1


def test_an_unknown_figure_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^figures \['los'\]: known are step, epoch, loss, loss/triplet, lr, "):
        Tracker(tmp_path, ["triplet"]).step(1, 1, {"los": 1.0})


def test_loggers_get_every_tenth_step_and_every_epoch(tmp_path: Path) -> None:
    recorder = Recorder()
    tracker = Tracker(tmp_path, [], [recorder])
    tracker.epoch(0, 0, {"auc": 0.9, "loss": math.nan})
    for step in range(1, 26):
        tracker.step(step, 1, {"loss": torch.tensor(1 / step)})
    tracker.epoch(25, 1, {"auc": 0.95, "loss": 0.25})
    assert [step for step, _ in recorder.given] == [0, 1, TRACK_EVERY, 2 * TRACK_EVERY, 25]
    assert recorder.given[0] == (0, {"val/auc": 0.9, "epoch": 0.0})
    assert recorder.given[2] == (10, {"train/loss": pytest.approx(0.1), "epoch": 1})
    assert recorder.given[-1] == (25, {"val/auc": 0.95, "val/loss": 0.25, "epoch": 1.0})
    tracker.close()
    tracker.close()
    assert recorder.ended == ["success"]


def test_the_end_of_a_run_that_failed_is_told(tmp_path: Path) -> None:
    recorder = Recorder()
    Tracker(tmp_path, [], [recorder]).close(succeeded=False)
    assert recorder.ended == ["failed"]


def test_a_logger_that_fails_is_reported_once_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    tracker = Tracker(tmp_path, [], [Failing(), recorder])
    for step in range(1, 2 * FLUSH_EVERY + 1):
        tracker.step(step, 1, {"loss": 1.0})
    tracker.close()
    assert caplog.messages == ["Failing failed and gets no more figures: nobody there"]
    assert len(rows_of(tmp_path)) == 2 * FLUSH_EVERY
    assert len(recorder.given) == 1 + 2 * FLUSH_EVERY // TRACK_EVERY


def test_only_the_first_of_several_processes_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setenv("RANK", "1")
    tracker = Tracker(tmp_path, [], [recorder])
    tracker.resume_at(5)
    tracker.step(6, 1, {"loss": 1.0})
    tracker.epoch(6, 1, {"auc": 0.5})
    tracker.close()
    assert (list(tmp_path.iterdir()), recorder.given) == ([], [])


def test_the_gradient_norm_is_that_of_all_gradients_together() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1, 2)), nn.Parameter(torch.zeros(3))]
    parameters[0].grad, parameters[1].grad = torch.tensor([1.0, 2.0]), torch.tensor([[2.0, 4.0]])
    assert gradient_norm(parameters).item() == pytest.approx(5.0)
    assert float(gradient_norm(parameters[2:])) == 0.0


# TrackSteps


@dataclass
class Last:
    value: ObjectiveValue
    rows: Tensor


class Line(lightning.LightningModule):
    """A line through points, with what `SiameseModule` shows of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)
        self.last: Last | None = None

    def train_dataloader(self) -> Any:
        generator = torch.Generator().manual_seed(3)
        points = torch.randn(24, 3, generator=generator)
        return torch.utils.data.DataLoader(points, batch_size=4)  # type: ignore[arg-type]

    def training_step(self, batch: Tensor, number: int) -> Tensor:
        loss = (self.line(batch) - batch.sum(1, keepdim=True)).square().mean()
        self.last = Last(ObjectiveValue(loss.detach(), {"line": loss.detach()}, None), torch.arange(len(batch)))
        return loss

    def configure_optimizers(self) -> Any:
        optimiser = torch.optim.SGD(self.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1, 0.5)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def run(callbacks: list[Callback], epochs: int, checkpoint: Path | None = None, **options: Any) -> lightning.Trainer:
    torch.manual_seed(0)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(Line(), ckpt_path=checkpoint, weights_only=True)
    return trainer


def fit(folder: Path, epochs: int, checkpoint: Path | None = None, **options: Any) -> tuple[TrackSteps, Path]:
    callback = TrackSteps(Tracker(folder, ["line"]), options.pop("more", None))
    trainer = run([callback], epochs, checkpoint, **options)
    trainer.save_checkpoint(folder / "last.ckpt")
    return callback, folder / "last.ckpt"


def columns(folder: Path, *names: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in names) for row in rows_of(folder)]


def test_every_batch_has_a_row_with_the_rate_and_norm_of_its_update(tmp_path: Path) -> None:
    fit(tmp_path, 2, more=lambda: {"spread": 0.5, "gap": None})
    rows = rows_of(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert [int(row["epoch"]) for row in rows] == [1] * 6 + [2] * 6
    assert [float(row["lr"]) for row in rows] == [pytest.approx(0.1 * 0.5**step) for step in range(12)]
    assert all(row["loss"] == row["loss/line"] for row in rows)
    assert {(row["spread"], row["gap"], row["active"]) for row in rows} == {("0.5", "", "")}
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    torch.manual_seed(0)
    module = Line()
    module.training_step(next(iter(module.train_dataloader())), 0).backward()
    assert float(rows[0]["grad_norm"]) == pytest.approx(float(gradient_norm(list(module.parameters()))))


def test_the_norm_is_that_before_clipping(tmp_path: Path) -> None:
    fit(tmp_path / "free", 1)
    fit(tmp_path / "clipped", 1, gradient_clip_val=1e-3)
    assert columns(tmp_path / "free", "grad_norm")[0] == columns(tmp_path / "clipped", "grad_norm")[0]


def test_where_batches_accumulate_only_updates_have_rate_and_norm(tmp_path: Path) -> None:
    fit(tmp_path, 1, accumulate_grad_batches=3)
    measured = [(lr != "", norm != "") for lr, norm in columns(tmp_path, "lr", "grad_norm")]
    assert measured == [(False, False), (False, False), (True, True)] * 2


def test_a_resumed_run_writes_the_rows_of_an_undisturbed_one(tmp_path: Path) -> None:
    fit(tmp_path / "whole", 4)
    _, checkpoint = fit(tmp_path / "halves", 2)
    tracker = Tracker(tmp_path / "halves", ["line"])
    tracker.resume_at(12)
    tracker.step(13, 3, {"loss": 9.0})  # a step beyond the checkpoint, of a process that was killed
    tracker.flush()
    callback, _ = fit(tmp_path / "halves", 4, checkpoint)
    names = ("step", "epoch", "loss", "loss/line", "lr", "grad_norm")
    assert callback.steps == 24
    assert columns(tmp_path / "halves", *names) == columns(tmp_path / "whole", *names)


def test_a_checkpoint_comes_after_the_rows_before_it(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    callback = TrackSteps(tracker)
    tracker.step(1, 1, {"loss": 1.0})
    assert not (tmp_path / "steps.csv").exists()
    assert callback.state_dict() == {"steps": 0}
    assert len(rows_of(tmp_path)) == 1


# TrackEvaluations


class Evaluator(Callback):
    """Measures after every epoch, as training does."""

    def __init__(self, history: list[dict[str, float]]) -> None:
        self.history = history

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.history.append({"epoch": len(self.history), "auc": len(self.history) / 10})


def test_the_baseline_and_every_epoch_are_sent_once_with_the_steps_before_them(tmp_path: Path) -> None:
    history: list[dict[str, float]] = [{"epoch": 0, "auc": 0.0, "loss": math.nan}]
    recorder = Recorder()
    tracker = Tracker(tmp_path, ["line"], [recorder])
    steps, evaluator = TrackSteps(tracker), Evaluator(history)
    run([steps, evaluator, TrackEvaluations(tracker, steps, lambda: evaluator.history)], 2).save_checkpoint(
        tmp_path / "last.ckpt"
    )
    sent = [(step, metrics) for step, metrics in recorder.given if "val/auc" in metrics]
    assert sent == [
        *(
            (0, {"val/auc": 0.0, "epoch": 0.0}),
            (6, {"val/auc": 0.1, "epoch": 1.0}),
            (12, {"val/auc": 0.2, "epoch": 2.0}),
        )
    ]
    recorder.given.clear()
    steps = TrackSteps(tracker)
    run([steps, evaluator, TrackEvaluations(tracker, steps, lambda: history)], 3, tmp_path / "last.ckpt")
    assert [step for step, metrics in recorder.given if "val/auc" in metrics] == [18]
