"""The learning-rate range test on disk: a table and a plot."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from siamese.atomic import atomic_path, write_text
from siamese.training.lr_finder import RangeTest

CSV, PLOT = "lr_finder.csv", "lr_finder.png"


def write_range_test(result: RangeTest, folder: Path) -> tuple[Path, Path]:
    """Write `lr_finder.csv` (rate, loss, smoothed) and the plot `lr_finder.png` into `folder`; their paths."""
    table = io.StringIO()
    columns = np.stack((result.rates, result.losses, result.smoothed), axis=1)
    np.savetxt(table, columns, fmt="%.9g", delimiter=",", header="rate,loss,smoothed", comments="")
    write_text(folder / CSV, table.getvalue())
    with atomic_path(folder / PLOT) as temporary:
        draw_range_test(result).savefig(temporary, dpi=120)
    return folder / CSV, folder / PLOT


def draw_range_test(result: RangeTest) -> Figure:
    """The losses against the rate, with the suggestion marked; a figure of its own, none of pyplot's."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(result.rates, result.losses, ".", color="0.6", markersize=5, label="batches")
    axes.plot(result.rates, result.smoothed, color="C0", linewidth=2, label="smoothed")
    if result.suggestion is not None:
        axes.axvline(result.suggestion, color="C3", linestyle="--", label=f"suggestion {result.suggestion:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.set_title(result.reason, fontsize=9, wrap=True)
    axes.grid(alpha=0.3)
    axes.legend()
    _fit_view(axes, result)
    return figure


def _fit_view(axes: "object", result: RangeTest) -> None:
    """Leave the blow-up at the end out of sight: it would press all the rest flat."""
    finite = result.losses[np.isfinite(result.losses)]
    if not len(finite):
        return
    low, high = float(finite.min()), float(max(finite[0], np.nanmax(result.smoothed[: max(1, len(finite) * 3 // 4)])))
    room = 0.1 * (high - low) or 1.0
    axes.set_ylim(low - room, high + 4 * room)  # type: ignore[attr-defined]
