"""Receiver operating characteristics, on linear axes and with FAR on a logarithmic one."""

from collections.abc import Sequence

import numpy as np

from siamese.evaluation.metrics import FARS
from siamese.evaluation.thresholds import reduced
from siamese.report.charts.chart import GREY, SMALL, Chart, blank, name_below, tidy
from siamese.report.charts.series import POINTS, Series, each
from siamese.report.wording import INSUFFICIENT, number

_FAR, _TAR = "false accept rate (FAR)", "true accept rate (TAR)"


def draw_roc(series: Sequence[Series]) -> Chart:
    """TAR over FAR, with the decisions of each model marked."""
    figure = blank(3.8)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    lines = []
    for one in series:
        far, tar = one.curve.far, one.curve.tar
        kept = reduced(far, tar, POINTS)
        lines.append(one.line(axes, far[kept], tar[kept]))
        one.point(axes, *decided(one))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    tidy(axes, _FAR, _TAR)
    name_below(figure, lines, [f"{one.name} (AUC {number(one.curve.auc())})" for one in series])
    said = [f"area under the curve {number(one.curve.auc())}, {_decision_words(one)}" for one in series]
    return Chart(
        name="roc",
        title="ROC",
        reading="Share of genuine pairs accepted over share of impostor pairs accepted; the upper left corner is "
        "perfect, the dotted diagonal is chance. Markers are the decisions taken.",
        text=f"ROC. {each(series, said)}",
        figure=figure,
    )


def draw_log_roc(series: Sequence[Series]) -> Chart:
    """TAR over FAR on a logarithmic axis, which shows the low rates at which verifiers are used."""
    figure = blank(3.4)
    axes = figure.add_subplot()
    lines = []
    least = min(1 / one.curve.impostor for one in series)
    for one in series:
        # A FAR of 0 has no logarithm: it is drawn at half of what one false accept would be.
        far, tar = np.maximum(one.curve.far, 0.5 / one.curve.impostor), one.curve.tar
        kept = reduced(np.log10(far), tar, POINTS)
        lines.append(one.line(axes, far[kept], tar[kept]))
        far_now, tar_now = decided(one)
        one.point(axes, max(far_now, 0.5 / one.curve.impostor), tar_now)
    support = min(1.0, 3 * least)
    axes.axvspan(*(least / 2, support), facecolor="none", edgecolor="0.8", hatch="//", linewidth=0, zorder=0)
    axes.set(xscale="log", xlim=(least / 2, 1.0))
    tidy(axes, _FAR, _TAR)
    axes.set_title(f"hatched: FAR below {support:.2g}, {INSUFFICIENT}", fontsize=SMALL, loc="left", color=GREY)
    name_below(figure, lines, [one.name for one in series])
    return Chart(
        name="roc-log",
        title="ROC, low false accept rates",
        reading="The same curve with FAR on a logarithmic axis; higher is better. Where it is hatched, fewer than "
        "three false accepts are expected among the impostor pairs.",
        text=f"ROC with logarithmic FAR. {each(series, [_tar_words(one) for one in series])}",
        figure=figure,
    )


def decided(one: Series) -> tuple[float, float]:
    """FAR and TAR of the decisions that a model took."""
    accepted, same = np.asarray(one.model.accepted, dtype=bool), np.asarray(one.model.same, dtype=bool)
    return float(accepted[~same].mean()), float(accepted[same].mean())


def _decision_words(one: Series) -> str:
    far, tar = decided(one)
    return f"decisions at FAR {number(far, percent=True)} and TAR {number(tar, percent=True)}"


def _tar_words(one: Series) -> str:
    rates = [(far, one.curve.tar_at_far(far)) for far in FARS]
    said = [f"at FAR {far:g} the TAR is {number(tar, percent=True)}" for far, tar in rates if tar is not None]
    missing = [f"{far:g}" for far, tar in rates if tar is None]
    if missing:
        said.append(f"{INSUFFICIENT} for FAR {', '.join(missing)}")
    return "; ".join(said)
