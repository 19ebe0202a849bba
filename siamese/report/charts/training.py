"""Learning curves: each figure over the epochs, against the untouched encoder."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from siamese.report.charts.chart import BLUE, GREY, PALETTE, Chart, blank, name_below, tidy
from siamese.report.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ORANGE = PALETTE[1]
# What a history may hold and a reader wants to see, in the order of the panels.
_PANELS = {
    "loss": "training loss",
    "auc": "validation AUC",
    "accuracy": "validation accuracy",
    "eer": "validation EER",
    "top1": "identities, top-1",
}
_DOTS = 40  # beyond so many epochs dots run into a band


def draw_training(
    name: str, history: Sequence[Mapping[str, float]], best_epoch: int | None, place: int
) -> Chart | None:
    """A panel for each figure of a history; the baseline is a dashed line, the best epoch a dotted one.

    Args:
        name: of the model.
        history: a row for each evaluation, in order, with `epoch`; what was not measured is NaN or left out.
        best_epoch: whose weights were kept; None where unknown.
        place: of the model, for the name of the file.

    Returns:
        None where nothing was measured.
    """
    shown = [key for key in _PANELS if any(math.isfinite(row.get(key, math.nan)) for row in history)]
    if not shown:
        return None
    figure = blank(0.5 + 1.55 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False).ravel()
    keys: dict[str, object] = {}
    for axes, key in zip(panels, shown, strict=True):
        keys |= _draw(axes, history, key, best_epoch)
        tidy(axes, "", _PANELS[key].replace(" ", "\n", 1))
    panels[-1].set_xlabel("epoch")
    panels[-1].locator_params(axis="x", integer=True)
    name_below(figure, list(keys.values()), list(keys))
    said = "; ".join(_words(history, key, best_epoch) for key in shown)
    return Chart(
        name=f"training-{place + 1}",
        title=f"Training of {name}",
        reading="Each figure over the epochs, against the untouched encoder (epoch 0).",
        text=f"Learning curves of {name}. {said}.",
        figure=figure,
    )


def _draw(axes: "Axes", history: Sequence[Mapping[str, float]], key: str, best: int | None) -> dict[str, object]:
    values = {row["epoch"]: row.get(key, math.nan) for row in history}
    dots = "o" if len(values) <= _DOTS else None
    drawn: dict[str, object] = {
        "each epoch": axes.plot(list(values), list(values.values()), color=BLUE, marker=dots, markersize=3)[0]
    }
    if math.isfinite(values.get(0, math.nan)):
        drawn["baseline, the untouched encoder"] = axes.axhline(values[0], color=GREY, linestyle="--", linewidth=1.2)
    if best is not None:
        axes.axvline(best, color=_ORANGE, linestyle=":", linewidth=1.2)
        drawn[f"best epoch, {best}"] = axes.plot(
            *([best], [values.get(best, math.nan)]), color=_ORANGE, marker="D", markersize=6, linestyle=":"
        )[0]
    return drawn


def _words(history: Sequence[Mapping[str, float]], key: str, best: int | None) -> str:
    values = {row["epoch"]: row.get(key, math.nan) for row in history}
    finite = {epoch: value for epoch, value in values.items() if math.isfinite(value)}
    said = [f"{_PANELS[key]} from {number(finite[min(finite)])} to {number(finite[max(finite)])}"]
    if best is not None and best in finite:
        said.append(f"{number(finite[best])} at the best epoch, {best}")
    return ", ".join(said)
