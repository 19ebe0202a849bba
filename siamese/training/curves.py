"""Learning curves as a picture: each figure over the epochs, against the untouched encoder."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.atomic import atomic_path
from siamese.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, float]]

# Panel titles, in the order of the panels; other columns follow in the order of the history, under their own names.
_TITLES = {
    "loss": "training loss",
    "auc": "validation AUC (higher is better)",
    "accuracy": "validation accuracy (higher is better)",
    "eer": "validation EER (lower is better)",
    "top1": "identities, top-1 accuracy (higher is better)",
    "top5": "identities, top-5 accuracy (higher is better)",
    "lr": "learning rate",
}
# Okabe and Ito, "Color Universal Design", 2008: told apart with any kind of colour vision, and in grey.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"
_PANEL = (4.6, 2.9)  # inches
_DPI = 120
# Up to as many epochs each has a dot; more would run into a band.
_DOTS = 40
# A span of values from which on a logarithmic axis shows more.
_DECADES = 30.0


def read_history(path: Path) -> list[dict[str, float]]:
    """Read `history.csv`: a row per evaluation, the baseline first; an empty cell is NaN.

    Raises:
        DataError: missing, without rows, or with a cell that is no number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a history of training ({error})") from error
    if not rows or "epoch" not in rows[0]:
        raise DataError(f"{path}: expected a column `epoch` and a row per evaluation; is the file of another kind?")
    return [_numbers(path, number, row) for number, row in enumerate(rows, start=2)]


def save_curves(history: History, path: Path, best_epoch: int | None = None) -> None:
    """Draw learning curves into a PNG file, whole or not at all.

    Args:
        history: as for `draw_curves`.
        path: the file to write.
        best_epoch: as for `draw_curves`.

    Example:
        >>> save_curves([{"epoch": 0, "auc": 0.9}, {"epoch": 1, "auc": 0.95}], Path("curves.png"))  # doctest: +SKIP
    """
    figure = draw_curves(history, best_epoch)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")


def draw_curves(history: History, best_epoch: int | None = None) -> "Figure":
    """Draw one panel for each figure of a history.

    The value at epoch 0, the untouched encoder, is a dashed line; the best epoch is marked in every panel. What was
    not measured (NaN) leaves a gap, and a figure that was never measured has no panel.

    Args:
        history: a mapping for each evaluation in order, with `epoch` and any figures by name.
        best_epoch: the epoch whose weights were kept; None for that of the highest `auc`, the earlier of equal ones.

    Raises:
        DataError: there are no evaluations.
    """
    if not history:
        raise DataError("learning curves: the history has no evaluations; train at least one epoch")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    best = _best(history) if best_epoch is None else best_epoch
    names = _panels(history) or ["auc"]
    columns = 1 if len(names) == 1 else 2
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(columns * _PANEL[0], rows * _PANEL[1] + 0.4), layout="constrained")
    FigureCanvasAgg(figure)  # an own canvas: no window, and nothing kept between calls as pyplot does
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        _draw(panel, history, name, best)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    _add_legend(figure, list(panels[: len(names)]))
    return figure


def _numbers(path: Path, line: int, row: Mapping[str, Any]) -> dict[str, float]:
    try:
        return {name: float(text) if text else math.nan for name, text in row.items()}
    except (TypeError, ValueError) as error:  # TypeError: more cells than columns
        raise DataError(f"{path}, line {line}: expected a number in every cell ({error})") from error


def _best(history: History) -> int:
    measured = [row for row in history if not math.isnan(row.get("auc", math.nan))]
    return int(max(measured, key=lambda row: row["auc"])["epoch"]) if measured else int(history[0]["epoch"])


def _panels(history: History) -> list[str]:
    found = dict.fromkeys(name for row in history for name in row if name != "epoch")
    shown = [name for name in found if any(math.isfinite(row.get(name, math.nan)) for row in history)]
    order = list(_TITLES)
    return sorted(shown, key=lambda name: order.index(name) if name in _TITLES else len(order))


def _draw(panel: "Axes", history: History, name: str, best: int) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    values = [row.get(name, math.nan) for row in history]
    finite = [value for value in values if math.isfinite(value)]
    panel.plot(
        *(epochs, values),
        color=_BLUE,
        linewidth=1.5,
        marker="o" if len(epochs) <= _DOTS or len(finite) == 1 else None,
        markersize=3,
        label="each epoch",
    )
    baseline = {row["epoch"]: row.get(name, math.nan) for row in history}.get(0, math.nan)
    if math.isfinite(baseline):
        panel.axhline(baseline, color=_GREY, linestyle="--", linewidth=1.2, label="baseline: untouched encoder")
    at_best = dict(zip(epochs, values, strict=True)).get(best, math.nan)
    panel.axvline(best, color=_ORANGE, linestyle=":", linewidth=1.2)
    if math.isfinite(at_best):
        panel.plot([best], [at_best], color=_ORANGE, marker="D", markersize=6, linestyle="none", label="best epoch")
    _say_values(panel, name, baseline, best, at_best)
    if name in ("loss", "lr") and min(finite) > 0 and max(finite) / min(finite) >= _DECADES:
        panel.set_yscale("log")
    panel.set_xlabel("epoch", fontsize=9)
    room = 0.04 * max(1.0, max(epochs) - min(epochs))  # all panels alike, also where one has fewer values
    panel.set_xlim(min(epochs) - room, max(epochs) + room)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.margins(y=0.1)
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def _say_values(panel: "Axes", name: str, baseline: float, best: int, at_best: float) -> None:
    """The title, and below it the values: inside the panel they would lie on the curve."""
    panel.set_title(_TITLES.get(name, name), fontsize=10, loc="left", pad=17)
    said = [f"baseline {baseline:.4g}"] if math.isfinite(baseline) else []
    if math.isfinite(at_best) and best > 0:
        said.append(f"best epoch {best}: {at_best:.4g}")
    # In points above the corner, so that it stays clear of the panel at any size.
    panel.annotate(
        ", ".join(said), (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=9
    )


def _add_legend(figure: "Figure", panels: Sequence["Axes"]) -> None:
    entries: dict[str, Any] = {}
    for panel in panels:
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, line)
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=3, fontsize=9, frameon=False)
