"""Detection error trade-off on normal-deviate axes (Martin et al., "The DET curve in assessment of detection task
performance", 1997): where scores are normally distributed, it is a straight line."""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri  # type: ignore[import-untyped]

from siamese.evaluation.thresholds import reduced
from siamese.report.charts.chart import GREY, Chart, blank, name_below, tidy
from siamese.report.charts.series import POINTS, Series, each
from siamese.report.wording import number

_TICKS = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)
_NARROWEST = (0.01, 0.5)


def draw_det(series: Sequence[Series]) -> Chart:
    """FRR over FAR, both in normal deviates, with the equal error rate of each model marked."""
    figure = blank(3.8)
    axes = figure.add_subplot()
    lines, ends = [], list(_NARROWEST)
    for one in series:
        # Rates of 0 and 1 lie at infinity: they are drawn half a pair away from there.
        far = np.clip(one.curve.far, 0.5 / one.curve.impostor, 1 - 0.5 / one.curve.impostor)
        frr = np.clip(one.curve.frr, 0.5 / one.curve.genuine, 1 - 0.5 / one.curve.genuine)
        x, y = ndtri(far), ndtri(frr)
        kept = reduced(x, y, POINTS)
        lines.append(one.line(axes, x[kept], y[kept]))
        eer = one.curve.eer_point()[0]
        at = float(np.clip(eer, far.min(), far.max()))
        one.point(axes, float(ndtri(at)), float(ndtri(at)))
        ends += [0.5 / one.curve.impostor, 0.5 / one.curve.genuine, min(2 * at, 0.99)]
    low, high = float(ndtri(min(ends))), float(ndtri(max(ends)))
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    shown = [rate for rate in _TICKS if low <= ndtri(rate) <= high]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([float(ndtri(rate)) for rate in shown], labels=[f"{100 * rate:g}%" for rate in shown])
    tidy(axes, "false accept rate (FAR)", "false reject rate (FRR)")
    eers = [number(one.curve.eer_point()[0], percent=True) for one in series]
    name_below(figure, lines, [f"{one.name} (EER {eer})" for one, eer in zip(series, eers, strict=True)])
    return Chart(
        name="det",
        title="DET",
        reading="Share of genuine pairs rejected over share of impostor pairs accepted, both axes in normal "
        "deviates; nearer to the lower left corner is better. Markers are equal error rates, on the dotted diagonal.",
        text=f"DET. {each(series, [f'equal error rate {eer}' for eer in eers])}",
        figure=figure,
    )
