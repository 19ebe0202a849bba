import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from siamese.model.card import ValidationFigures
from siamese.model.network import SiameseNetwork
from siamese.training.averaging import Averaging
from siamese.training.checkpoint import LAST, Checkpoints
from siamese.training.keeper import HISTORY, BestKeeper, Select, word_figures
from siamese.training.validation import Validation

from .conftest import Parts, TinyEncoder, make_parts

PAIRS: dict[str, Any] = {"num_pairs": 32, "batch_size": 8, "freeze": "none"}
CLASSES: dict[str, Any] = {"loss": "cross_entropy", "val_images": 2, "batch_size": 16, "freeze": "none"}


class Measured(Validation):
    """Gives figures that were written down, one evaluation after the other; None for weights that are not finite."""

    def __init__(self, figures: Sequence[tuple[float, float | None] | None]) -> None:
        object.__setattr__(self, "_figures", list(figures))

    def measure(self, network: SiameseNetwork) -> ValidationFigures | None:
        figures: list[tuple[float, float | None] | None] = self.__dict__["_figures"]
        found = figures.pop(0)
        if found is None:
            return None
        auc, top1 = found
        return ValidationFigures(auc=auc, accuracy=0.5, eer=0.5, top1=top1, top5=top1)


def network(value: float) -> SiameseNetwork:
    made = SiameseNetwork(TinyEncoder())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(value)
    return made


def kept(folder: Path, figures: Sequence[tuple[float, float | None] | None], select: Select = "auc") -> BestKeeper:
    """After evaluations of networks whose weights are 0, 1, 2 and so on."""
    keeper = BestKeeper(Measured(figures), folder, select=select)
    for number in range(len(figures)):
        keeper.record(network(float(number)), loss=1.0 / (1 + number), lr=0.1)
    return keeper


def weights_of_best(keeper: BestKeeper) -> float:
    found = network(-1.0)
    keeper.load_best(found)
    return float(next(found.parameters()).detach().flatten()[0])


@pytest.mark.parametrize(
    ("figures", "select", "best"),
    [
        ([(0.8, None), (0.7, None), (0.9, None), (0.85, None)], "auc", 2),
        ([(0.8, None), (0.7, None)], "auc", 0),  # nothing beat the baseline
        ([(0.8, None), (0.9, None), (0.9, None)], "auc", 1),  # of equal ones the earlier
        ([(0.9, 0.5), (0.7, 0.6), (0.8, 0.6), (0.95, 0.4)], "top1", 2),  # of equal top-1 the highest AUC
        ([(0.9, 0.5), (0.7, 0.6), (0.7, 0.6)], "top1", 1),
        ([(0.9, 0.5), (0.7, 0.6), (0.8, 0.6), (0.95, 0.4)], "auc", 3),
    ],
)
def test_the_best_of_all_evaluations_is_kept(
    tmp_path: Path, figures: list[tuple[float, float | None]], select: Select, best: int
) -> None:
    keeper = kept(tmp_path, figures, select)
    assert keeper.best_epoch == best
    assert weights_of_best(keeper) == best
    found = keeper.figures(best)
    assert (found.auc, found.top1) == figures[best]


def test_the_history_holds_all_that_was_measured(tmp_path: Path) -> None:
    kept(tmp_path, [(0.8, 0.2), (0.9, 0.3)], "top1")
    with (tmp_path / HISTORY).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "lr", "auc", "accuracy", "eer", "top1", "top5"]
    assert [(row["epoch"], float(row["loss"]), row["auc"]) for row in rows] == [("0", 1.0, "0.8"), ("1", 0.5, "0.9")]
    kept(tmp_path, [(0.8, None)])
    assert (tmp_path / HISTORY).read_text(encoding="utf-8").splitlines()[0] == "epoch,loss,lr,auc,accuracy,eer"


def test_the_baseline_has_no_loss(tmp_path: Path) -> None:
    keeper = BestKeeper(Measured([(0.8, None)]), tmp_path)
    assert keeper.record(network(0.0))
    assert math.isnan(keeper.history[0]["loss"])


def test_weights_that_are_not_finite_leave_no_trace(tmp_path: Path) -> None:
    keeper = BestKeeper(Measured([(0.8, None), None]), tmp_path)
    assert keeper.record(network(0.0))
    assert not keeper.record(network(math.nan))
    assert len(keeper.history) == 1
    assert weights_of_best(keeper) == 0


def test_only_the_best_stays_and_in_the_end_nothing(tmp_path: Path) -> None:
    keeper = kept(tmp_path, [(0.7, None), (0.8, None), (0.9, None), (0.6, None)])
    assert len(list(tmp_path.glob("best-*"))) == 3
    keeper.clear()
    assert [file.name for file in tmp_path.glob("best-*")] == ["best-0002.safetensors"]
    keeper.clear(all_files=True)
    assert not list(tmp_path.glob("best-*"))
    assert (tmp_path / HISTORY).is_file()


def test_a_resumed_run_remembers_its_evaluations(tmp_path: Path) -> None:
    first = kept(tmp_path, [(0.7, None), (0.9, None)])
    again = BestKeeper(Measured([(0.8, None)]), tmp_path)
    again.load_state_dict(first.state_dict())
    again.record(network(5.0))
    assert (again.best_epoch, len(again.history)) == (1, 3)
    assert weights_of_best(again) == 1


def test_figures_are_worded_with_top_1_where_there_is_one() -> None:
    plain = ValidationFigures(auc=0.98765, accuracy=0.9, eer=0.1)
    assert word_figures(plain) == "AUC 0.9877, accuracy 0.9000, EER 0.1000"
    named = plain.model_copy(update={"top1": 0.5, "top5": 0.75})
    assert word_figures(named) == "AUC 0.9877, accuracy 0.9000, EER 0.1000, top-1 0.5000, top-5 0.7500"


def trained(parts: Parts, figures: Sequence[tuple[float, float | None] | None], **options: Any) -> BestKeeper:
    keeper = BestKeeper(Measured(figures), parts.folder, **options)
    keeper.record(parts.network)
    parts.train(keeper)
    return keeper


def test_a_run_that_gets_no_better_ends(people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="siamese")
    aucs = [0.5, 0.6, 0.7, 0.7, 0.65, 0.9]
    keeper = trained(make_parts(people, tmp_path, epochs=5, **PAIRS), [(auc, None) for auc in aucs], patience=2)
    assert [row["auc"] for row in keeper.history] == aucs[:5]
    assert keeper.best_epoch == 2
    assert caplog.messages[-1] == "no better evaluation in 2 epochs: training ends"
    assert not keeper.stopped  # it ended by itself: there is nothing to go on with


def test_without_patience_a_run_goes_on_to_its_end(people: Path, tmp_path: Path) -> None:
    aucs = [0.9, 0.6, 0.5, 0.4]
    keeper = trained(make_parts(people, tmp_path, epochs=3, **PAIRS), [(auc, None) for auc in aucs])
    assert len(keeper.history) == 4


def test_weights_that_are_no_numbers_end_the_run(
    people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = trained(make_parts(people, tmp_path, epochs=5, **PAIRS), [(0.5, None), (0.6, None), None])
    assert len(keeper.history) == 2
    assert caplog.messages == [
        "the weights are no longer finite numbers: training ends with the best so far; lower --lr"
    ]


@pytest.mark.parametrize("broken", ["network", "objective"])
def test_weights_broken_by_training_are_noticed_wherever_they_are(people: Path, tmp_path: Path, broken: str) -> None:
    parts = make_parts(people, tmp_path, **CLASSES)
    keeper = BestKeeper(parts.validation(), tmp_path, select="top1")
    with parts.module.evaluated() as judged:
        assert keeper.record(judged)
    with torch.no_grad():
        next(iter(getattr(parts.module, broken).parameters())).fill_(math.nan)
    with parts.module.evaluated() as judged:
        assert not keeper.record(judged)


def test_an_epoch_is_noted_with_its_loss_and_rate(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, epochs=2, schedule="constant", lr=0.003, **PAIRS)
    keeper = BestKeeper(parts.validation(), tmp_path)
    keeper.record(parts.network)
    parts.train(keeper)
    assert [row["epoch"] for row in keeper.history] == [0, 1, 2]
    assert [row["lr"] for row in keeper.history[1:]] == [0.003, 0.003]
    assert keeper.figures(2) == parts.validation().measure(parts.network)


def test_the_plateau_schedule_is_told_of_every_evaluation(
    people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="siamese")
    parts = make_parts(people, tmp_path, epochs=4, schedule="plateau", step_epochs=2, gamma=0.5, lr=0.004, **PAIRS)
    keeper = trained(parts, [(auc, None) for auc in (0.5, 0.9, 0.8, 0.7, 0.6)])
    assert [row["lr"] for row in keeper.history[1:]] == [0.004, 0.004, 0.004, 0.002]
    assert caplog.messages.count("no progress: the learning rate falls") == 1


def test_the_average_is_what_is_evaluated_and_saved(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, epochs=1, ema=0.9, lr=0.1, **PAIRS)
    keeper = BestKeeper(Measured([(0.1, None), (0.9, None)]), tmp_path)
    keeper.record(parts.network)
    parts.train(Averaging(), keeper)
    assert parts.module.average is not None
    assert parts.module.average.updates == 4
    best = make_parts(people, tmp_path / "other", **PAIRS).network
    keeper.load_best(best)
    with parts.module.average.applied(parts.module.trained):
        averaged = {name: tensor.clone() for name, tensor in parts.network.state_dict().items()}
    apart = 0.0
    for name, tensor in best.state_dict().items():
        assert torch.equal(tensor, averaged[name])
        apart = max(apart, float((tensor - parts.network.state_dict()[name]).abs().max()))
    assert apart > 1e-3  # the trained weights are others, and still there


def test_the_identity_head_is_filled_by_the_loss_before_it_is_judged(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, epochs=3, lr=0.03, **CLASSES)
    assert parts.data.held_out is not None
    keeper = BestKeeper(parts.validation(), tmp_path, select="top1")
    with parts.module.evaluated() as judged:
        keeper.record(judged)
    parts.train(keeper)
    assert {"top1", "top5"} <= set(keeper.history[-1])
    weight = parts.module.objective.class_losses["cross_entropy"].classifier().weight
    assert parts.network.identity_head is not None
    torch.testing.assert_close(parts.network.identity_head.weight, weight)


def test_a_checkpoint_is_written_with_the_evaluation_in_it(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, epochs=2, **PAIRS)
    checkpoints = Checkpoints(tmp_path, None, 1, None)
    keeper = BestKeeper(parts.validation(), tmp_path, checkpoints)
    keeper.record(parts.network)
    parts.train(keeper, checkpoints)
    known = torch.load(tmp_path / LAST, weights_only=True)
    remembered = known["callbacks"]["BestKeeper"]["history"]
    assert [(row["epoch"], row["auc"]) for row in remembered] == [
        (row["epoch"], row["auc"]) for row in keeper.history
    ]
    assert len(remembered) == 3
    assert len(list(tmp_path.glob("best-*"))) == 1


def test_a_stopped_run_leaves_the_checkpoint_of_its_last_step_alone(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, epochs=1, **PAIRS)
    checkpoints = Checkpoints(tmp_path, None, 1, None)
    keeper = BestKeeper(parts.validation(), tmp_path, checkpoints)
    keeper.record(parts.network)
    keeper.stopped = True
    parts.train(keeper)
    assert len(keeper.history) == 2
    assert not (tmp_path / LAST).exists()
