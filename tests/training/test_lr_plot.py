import csv
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from siamese.training.lr_finder import RangeTest, smooth, suggest_rate
from siamese.training.lr_plot import draw_range_test, write_range_test

RATES = np.geomspace(1e-7, 10.0, 100)


def falling() -> NDArray[np.float64]:
    """A noisy sigmoid that falls from 1 to .4 around 1e-3."""
    curve = 1 - 0.6 / (1 + np.exp(-3 * (np.log10(RATES) + 3)))
    return np.asarray(curve + np.random.default_rng(0).normal(0, 0.05, len(RATES)))


def result_of(losses: NDArray[np.float64]) -> RangeTest:
    suggestion, reason = suggest_rate(RATES[: len(losses)], losses)
    return RangeTest(RATES[: len(losses)], losses, smooth(losses), suggestion, reason)


def test_table_and_plot_are_written(tmp_path: Path) -> None:
    result = result_of(falling())
    table, plot = write_range_test(result, tmp_path / "run with space")
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert list(rows[0]) == ["rate", "loss", "smoothed"]
    np.testing.assert_allclose([float(row["loss"]) for row in rows], result.losses, rtol=1e-8)
    np.testing.assert_allclose([float(row["rate"]) for row in rows], result.rates, rtol=1e-8)
    with Image.open(plot) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 80) & (pixels[..., 2] < 80)
    assert red.sum() > 100  # the line of the suggestion
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["lr_finder.csv", "lr_finder.png"]


@pytest.mark.parametrize(
    "losses", [np.full(40, 0.3), np.array([math.nan]), np.append(np.full(20, 0.5), math.inf)], ids=str
)
def test_a_test_without_suggestion_is_drawn_too(losses: NDArray[np.float64]) -> None:
    figure = draw_range_test(result_of(losses))
    assert figure.axes[0].get_title().startswith("no learning rate to suggest")
    figure.canvas.draw()


def test_drawing_opens_no_pyplot_figure(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    write_range_test(result_of(falling()), tmp_path)
    assert plt.get_fignums() == []
