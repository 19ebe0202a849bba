import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from siamese.errors import DataError
from siamese.training.curves import draw_curves, read_history, save_curves

TITLES = {"training loss": "loss", "learning rate": "lr"} | {
    f"validation {name} ({way} is better)": name.lower()
    for name, way in (("AUC", "higher"), ("accuracy", "higher"), ("EER", "lower"))
}


def history(epochs: int, **more: float) -> list[dict[str, float]]:
    rows = [{"epoch": 0.0, "loss": math.nan, "auc": 0.96, "accuracy": 0.9, "eer": 0.1, "lr": math.nan}]
    for epoch in range(1, epochs + 1):
        share = epoch / epochs
        # Rises to its best in the middle of the run.
        auc = 0.98 - 0.04 * (share - 0.5) ** 2
        values = {"loss": 1 - 0.8 * share, "auc": auc, "accuracy": 0.92, "eer": 0.05, "lr": 1e-3 / epoch}
        rows.append({"epoch": float(epoch), **values, **more})
    return rows


def panels(rows: list[dict[str, float]], best: int | None = None) -> dict[str, Any]:
    """The drawn panels by the figure that they show."""
    figure = draw_curves(rows, best)
    return {TITLES.get(axes.get_title("left"), axes.get_title("left")): axes for axes in figure.axes if axes.axison}


def lines(axes: Any, style: str) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_linestyle() == style]


def marker(axes: Any) -> tuple[float, float] | None:
    found = [line.get_xydata()[0] for line in axes.get_lines() if line.get_marker() == "D"]
    return (float(found[0][0]), float(found[0][1])) if found else None


def test_every_figure_has_a_panel_with_its_values() -> None:
    rows = history(10)
    drawn = panels(rows)
    assert list(drawn) == ["loss", "auc", "accuracy", "eer", "lr"]
    for name, axes in drawn.items():
        curve = lines(axes, "-")[0].get_xydata()
        np.testing.assert_array_equal(curve, [(row["epoch"], row[name]) for row in rows])
        assert axes.get_xlim() == drawn["loss"].get_xlim()


def test_the_baseline_is_a_dashed_line_where_it_was_measured() -> None:
    drawn = panels(history(10))
    assert [set(line.get_ydata()) for line in lines(drawn["auc"], "--")] == [{0.96}]
    assert [set(line.get_ydata()) for line in lines(drawn["eer"], "--")] == [{0.1}]
    assert lines(drawn["loss"], "--") == []


def test_the_best_epoch_is_that_of_the_highest_auc_or_the_one_given() -> None:
    rows = history(10)
    drawn = panels(rows)
    assert (marker(drawn["auc"]), marker(drawn["loss"])) == ((5, 0.98), (5, pytest.approx(0.6)))
    assert all(set(lines(axes, ":")[0].get_xdata()) == {5} for axes in drawn.values())
    assert marker(panels(rows, best=8)["auc"]) == (8, rows[8]["auc"])
    assert marker(panels(rows, best=0)["auc"]) == (0, 0.96)
    assert marker(panels(rows, best=0)["loss"]) is None
    # Of equal ones the earlier.
    assert marker(panels([{"epoch": e, "auc": 0.5} for e in range(3)])["auc"]) == (0, 0.5)


def test_the_values_are_said_above_the_panel() -> None:
    texts = {name: [text.get_text() for text in axes.texts] for name, axes in panels(history(10)).items()}
    assert texts["auc"] == ["baseline 0.96, best epoch 5: 0.98"]
    assert texts["loss"] == ["best epoch 5: 0.6"]
    assert panels(history(3), best=0)["eer"].texts[0].get_text() == "baseline 0.1"


def test_what_was_never_measured_has_no_panel_and_what_is_new_has_one() -> None:
    rows = [{**row, "top5": math.nan, "top1": 0.5, "loss/arcface": 3.0} for row in history(4)]
    assert list(panels(rows)) == [
        *("loss", "auc", "accuracy", "eer", "identities, top-1 accuracy (higher is better)", "lr", "loss/arcface")
    ]
    # A figure that only later epochs have.
    assert "late" in panels([*history(2), {"epoch": 3, "late": 1.0}])


def test_a_value_that_is_not_finite_leaves_a_gap() -> None:
    rows = history(6)
    rows[3]["auc"], rows[4]["loss"] = math.nan, math.inf
    drawn = panels(rows)
    assert marker(drawn["auc"]) is not None
    assert not np.isfinite(lines(drawn["auc"], "-")[0].get_ydata()[3])
    assert np.isfinite(drawn["loss"].get_ylim()).all()


def test_a_wide_span_of_losses_gets_a_logarithmic_axis_and_zero_none() -> None:
    rows = [{"epoch": e, "loss": 10.0**-e, "lr": 0.1 * e, "auc": 0.9} for e in range(4)]
    drawn = panels(rows)
    assert [drawn[name].get_yscale() for name in ("loss", "lr", "auc")] == ["log", "linear", "linear"]


def test_few_epochs_have_dots_and_many_have_none() -> None:
    assert lines(panels(history(10))["auc"], "-")[0].get_marker() == "o"
    assert lines(panels(history(500))["auc"], "-")[0].get_marker() == "None"


@pytest.mark.parametrize("epochs", [0, 1, 2, 30, 500])
def test_a_picture_is_written_for_any_number_of_epochs(tmp_path: Path, epochs: int) -> None:
    save_curves(history(epochs), tmp_path / "run" / "curves.png")
    with Image.open(tmp_path / "run" / "curves.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 500
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = np.abs(pixels - (0x00, 0x72, 0xB2)).sum(2) < 30
    orange = np.abs(pixels - (0xD5, 0x5E, 0x00)).sum(2) < 30
    assert orange.any()
    assert blue.sum() > (1000 if epochs else 20)  # without an epoch that of the legend
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["curves.png"]


def test_nothing_measured_at_all_still_gives_a_picture(tmp_path: Path) -> None:
    save_curves([{"epoch": 0, "auc": math.nan}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_no_evaluations_are_an_error_and_leave_the_old_picture(tmp_path: Path) -> None:
    (tmp_path / "curves.png").write_bytes(b"old")
    message = "learning curves: the history has no evaluations; train at least one epoch"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        save_curves([], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == b"old"


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss,auc,lr\n0,nan,0.5,\n1,0.25,0.75,1e-05\n")
    rows = read_history(tmp_path / "history.csv")
    assert rows[1] == {"epoch": 1.0, "loss": 0.25, "auc": 0.75, "lr": 1e-5}
    assert (rows[0]["auc"], math.isnan(rows[0]["loss"]), math.isnan(rows[0]["lr"])) == (0.5, True, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, ": cannot be read as a history of training ("),
        ("", ": expected a column `epoch` and a row per evaluation; is the file of another kind?"),
        ("epoch,auc\n", ": expected a column `epoch` and a row per evaluation; is the file of another kind?"),
        (
            "left,right,same\na,b,1\n",
            ": expected a column `epoch` and a row per evaluation; is the file of another kind?",
        ),
        (
            "epoch,auc\n0,0.5\n1,good\n",
            ", line 3: expected a number in every cell (could not convert string to float",
        ),
        ("epoch,auc\n0,0.5,7\n", ", line 2: expected a number in every cell ("),
    ],
)
def test_a_file_that_is_no_history_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "history.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=f"^{re.escape(str(path) + message)}"):
        read_history(path)
