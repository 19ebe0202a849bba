"""Accuracy and F1 over the threshold: how much depends on where it is put."""

from collections.abc import Sequence

from siamese.evaluation.curves import Floats
from siamese.evaluation.metrics import accuracy_at, f1_at
from siamese.evaluation.thresholds import over_threshold
from siamese.report.charts.chart import Chart, blank, name_below, tidy
from siamese.report.charts.series import POINTS, Series, each
from siamese.report.wording import number


def draw_over_threshold(series: Sequence[Series]) -> Chart:
    """A panel for accuracy and one for F1, each model's threshold marked on its curve."""
    figure = blank(4.8)
    panels = figure.subplots(2, 1, sharex=True)
    lines = [one.line(panels[0], *over_threshold(one.curve, one.curve.accuracy(), POINTS)) for one in series]
    for one in series:
        one.line(panels[1], *over_threshold(one.curve, one.curve.f1(), POINTS))
        threshold = one.model.threshold
        if threshold is not None:
            one.point(panels[0], threshold, accuracy_at(one.model.scores, one.model.same, threshold))
            one.point(panels[1], threshold, f1_at(one.model.scores, one.model.same, threshold))
    tidy(panels[0], "", "accuracy")
    tidy(panels[1], "threshold on similarity", "F1 of genuine pairs")
    name_below(figure, lines, [one.name for one in series])
    return Chart(
        name="threshold",
        title="Accuracy and F1 over the threshold",
        reading="A broad top means that a threshold fitted elsewhere loses little. Markers are the thresholds in "
        "use.",
        text=f"Accuracy and F1 over the threshold. {each(series, [_words(one) for one in series])}",
        figure=figure,
    )


def _words(one: Series) -> str:
    said = [
        _highest(one, name, merit) for name, merit in (("accuracy", one.curve.accuracy()), ("F1", one.curve.f1()))
    ]
    threshold = one.model.threshold
    if threshold is not None:
        accuracy = accuracy_at(one.model.scores, one.model.same, threshold)
        said.append(f"at the threshold in use, {number(threshold)}, accuracy is {number(accuracy)}")
    return "; ".join(said)


def _highest(one: Series, name: str, merit: Floats) -> str:
    return f"{name} is highest, {number(float(merit.max()))}, at {number(one.curve.threshold_of_highest(merit))}"
