import io
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score, roc_curve

from siamese.report.charts.all import draw_charts
from siamese.report.charts.chart import Chart, look
from siamese.report.charts.det import draw_det
from siamese.report.charts.histograms import draw_histograms
from siamese.report.charts.matches import draw_matches
from siamese.report.charts.over_threshold import draw_over_threshold
from siamese.report.charts.reliability import draw_reliability
from siamese.report.charts.roc import draw_log_roc, draw_roc
from siamese.report.charts.series import make_series
from siamese.report.charts.slices import draw_slices, slice_columns
from siamese.report.charts.training import draw_training
from siamese.report.content import ModelContent, ReportContent
from siamese.report.measured import Figure, Matches, Reliability, ReliabilityBin, Slice

from .example import NAMES, example


def model(name: str = "m", pairs: int = 400, seed: int = 0, **more: Any) -> ModelContent:
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    # Few digits, so that there are ties.
    scores = np.round(rng.normal(np.where(same, 0.6, 0.3), 0.15), 2)
    values: dict[str, Any] = {"scores": scores, "same": same, "accepted": scores >= 0.45, "threshold": 0.45} | more
    return ModelContent(name=name, facts=(), **values)


def curve_of(chart: Chart, place: int = 0, axes: int = 0) -> Any:
    """The points of a model's curve: those of the only lines with many of them."""
    lines = [line for line in chart.figure.axes[axes].get_lines() if len(line.get_xdata()) > 10]
    return np.asarray(lines[place].get_xydata())


def markers(chart: Chart, axes: int = 0) -> list[tuple[float, float]]:
    lines = chart.figure.axes[axes].get_lines()
    return [tuple(line.get_xydata()[0]) for line in lines if line.get_linestyle() == "None"]


def test_the_roc_is_that_of_scikit_learn_with_the_decisions_on_it() -> None:
    one = model()
    far, tar, _ = roc_curve(one.same, one.scores, drop_intermediate=False)
    chart = draw_roc(make_series([one]))
    np.testing.assert_allclose(curve_of(chart), np.stack((far, tar), axis=1))
    decided = (np.mean(one.scores[~one.same] >= 0.45), np.mean(one.scores[one.same] >= 0.45))
    np.testing.assert_allclose(markers(chart), [decided])
    assert f"area under the curve {roc_auc_score(one.same, one.scores):.4f}" in chart.text
    assert f"decisions at FAR {100 * decided[0]:.2f} % and TAR {100 * decided[1]:.2f} %" in chart.text


def test_the_logarithmic_roc_says_tar_and_where_the_data_end() -> None:
    one = model(pairs=2000)
    chart = draw_log_roc(make_series([one]))
    axes = chart.figure.axes[0]
    assert axes.get_xscale() == "log"
    assert curve_of(chart)[0, 0] == 0.5 / 1000
    assert "at FAR 0.1 the TAR is " in chart.text
    assert chart.text.endswith("insufficient data for FAR 0.001, 0.0001, 1e-05, 1e-06.")
    far, tar, _ = roc_curve(one.same, one.scores, drop_intermediate=False)
    assert f"at FAR 0.01 the TAR is {100 * tar[far <= 0.01].max():.2f} %" in chart.text
    assert axes.get_title("left") == "hatched: FAR below 0.003, insufficient data"


def test_the_det_is_drawn_in_normal_deviates() -> None:
    one = model()
    chart = draw_det(make_series([one]))
    far, tar, _ = roc_curve(one.same, one.scores, drop_intermediate=False)
    inside = (far > 0) & (far < 1) & (tar > 0) & (tar < 1)
    expected = norm.ppf(np.stack((far, 1 - tar), axis=1)[inside])
    drawn = curve_of(chart)
    assert all(np.isclose(drawn, point, atol=1e-9).all(axis=1).any() for point in expected)
    assert np.isfinite(drawn).all()
    ticks = dict(zip(chart.figure.axes[0].get_xticks(), chart.figure.axes[0].get_xticklabels(), strict=True))
    assert {label.get_text(): round(norm.cdf(place), 6) for place, label in ticks.items()}["5%"] == 0.05
    ((x, y),) = markers(chart)
    assert x == pytest.approx(y)
    assert f"equal error rate {100 * norm.cdf(x):.2f} %" in chart.text


def test_normal_scores_give_a_straight_det() -> None:
    grid = norm.ppf((np.arange(4000) + 0.5) / 4000)
    scores, same = np.concatenate((grid, grid + 2)), np.arange(8000) >= 4000
    drawn = curve_of(draw_det(make_series([model(scores=scores, same=same, accepted=same)])))
    inside = (np.abs(drawn) < 2).all(axis=1)
    np.testing.assert_allclose(drawn[inside].sum(axis=1), -2.0, atol=0.02)


def test_both_kinds_of_scores_share_their_bins() -> None:
    one = model()
    chart = draw_histograms(make_series([one]))
    stairs = [patch for patch in chart.figure.axes[0].patches if patch.get_fill()]
    assert [patch.get_hatch() for patch in stairs] == ["\\\\\\", "///"]
    (_, edges, _), (_, others, _) = (patch.get_data() for patch in stairs)
    np.testing.assert_array_equal(edges, others)
    for patch, kind in zip(stairs, (False, True), strict=True):
        scores = one.scores[one.same == kind]
        np.testing.assert_allclose(patch.get_data().values, np.histogram(scores, edges)[0] / len(scores))
    assert f"genuine pairs have a median of {np.median(one.scores[one.same]):.4f}" in chart.text
    assert chart.text.endswith("threshold: 0.4500.")


def test_accuracy_and_f1_are_those_of_scikit_learn() -> None:
    one = model()
    chart = draw_over_threshold(make_series([one]))
    for axes, metric in enumerate((accuracy_score, f1_score)):
        drawn = curve_of(chart, axes=axes)
        expected = [metric(one.same, one.scores >= threshold) for threshold in drawn[:, 0]]
        np.testing.assert_allclose(drawn[:, 1], expected)
        np.testing.assert_allclose(markers(chart, axes), [(0.45, metric(one.same, one.scores >= 0.45))])
    assert f"accuracy is {accuracy_score(one.same, one.accepted):.4f}." in chart.text


def test_reliability_shows_shares_intervals_and_counts() -> None:
    bins = (ReliabilityBin(0.1, 0.05, 0.0, 0.2, 1000), ReliabilityBin(0.8, 0.95, 0.9, 0.97, 20))
    series = make_series([model(reliability=Reliability(bins, 0.021, 0.05)), model("without")])
    chart = draw_reliability(series)
    assert chart is not None
    upper, lower = chart.figure.axes
    assert any(np.array_equal(line.get_xydata(), [(0.1, 0.05), (0.8, 0.95)]) for line in upper.get_lines())
    assert np.array_equal(lower.get_lines()[0].get_xydata(), [(0.1, 1000), (0.8, 20)])
    assert lower.get_yscale() == "log"
    segments = upper.collections[0].get_segments()
    np.testing.assert_allclose([segment[:, 1] for segment in segments], [(0.0, 0.2), (0.9, 0.97)])
    assert "expected calibration error 0.0210, Brier score 0.0500" in chart.text
    assert "of 20 pairs with a mean probability of 0.8000, a share of 0.9500 is genuine" in chart.text
    assert draw_reliability(series[1:]) is None


def parts(values: list[float | None], column: str = "pose") -> tuple[Slice, ...]:
    return tuple(
        Slice(
            column,
            f"value {place}",
            30,
            20,
            (Figure("accuracy", value, value and value - 0.1, value and value + 0.1),),
        )
        for place, value in enumerate(values)
    )


def test_slices_are_drawn_from_the_top_in_their_order_with_intervals() -> None:
    one = model(slices=parts([0.6, 0.9, None]), figures=(Figure("accuracy", 0.85),))
    chart = draw_slices(make_series([one]), "pose", 0)
    axes = chart.figure.axes[0]
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"value {place}\n50 pairs" for place in range(3)
    ]
    assert markers(chart) == [(0.6, 0), (0.9, 1)]
    assert [line.get_xdata().tolist() for line in map(_solid, axes.get_lines()) if line is not None] == [
        pytest.approx([0.5, 0.7]),
        pytest.approx([0.8, 1.0]),
    ]
    assert any(set(line.get_xdata()) == {0.85} for line in axes.get_lines())
    assert [text.get_text() for text in axes.texts] == ["insufficient data"]
    assert chart.text == (
        "accuracy by pose. worst value 0, 0.6000 [0.5000, 0.7000]; best value 1, 0.9000 [0.8000, 1.0000]; "
        "insufficient data for 1 of 3."
    )


def _solid(line: Any) -> Any:
    return line if line.get_marker() == "|" else None


def test_of_many_slices_the_first_are_drawn_and_the_rest_is_said_to_be_elsewhere() -> None:
    one = model(slices=(*parts([0.5 + place / 100 for place in range(30)]), *parts([0.7], "light")))
    series = make_series([one, model("without")])
    assert slice_columns(series) == ["pose", "light"]
    chart = draw_slices(series, "pose", 0)
    assert len(chart.figure.axes[0].get_yticks()) == 20
    assert chart.reading.endswith("The 10 best of 30 are in the table only.")
    assert "value 29" in chart.text


def test_many_slices_of_insufficient_data_are_left_to_the_table() -> None:
    few, many = ([0.9, 0.8, *(None,) * lacking] for lacking in (3, 4))
    drawn = draw_slices(make_series([model(slices=tuple(parts(few)))]), "pose", 0)
    assert len(drawn.figure.axes[0].get_yticks()) == 5
    drawn = draw_slices(make_series([model(slices=tuple(parts(many)))]), "pose", 0)
    assert len(drawn.figure.axes[0].get_yticks()) == 2
    assert drawn.reading.endswith("4 parts with insufficient data are in the table only.")


def test_every_group_pair_has_its_number_or_is_hatched() -> None:
    matches = Matches(("a", "b"), ((0.5, 0.012), (0.012, None)), ((10, 20), (20, 1)))
    chart = draw_matches("m", matches, 3)
    assert chart is not None
    axes = chart.figure.axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "50.0",
        (1, 0): "1.20",
        (0, 1): "1.20",
        (1, 1): "\N{EN DASH}",
    }
    assert axes.patch.get_hatch() == "////"
    assert chart.name == "matches-4"
    assert "highest within a, FAR 50.00 %" in chart.text
    assert "insufficient data in 1 of 4 cells" in chart.text


@pytest.mark.parametrize("highest", [0.001, 0.4, 1.0])
def test_numbers_stand_out_from_their_cells(highest: float) -> None:
    rates = np.linspace(0, highest, 49).reshape(7, 7)
    chart = draw_matches("m", Matches(tuple("abcdefg"), tuple(map(tuple, rates.tolist())), ((9,) * 7,) * 7), 0)
    assert chart is not None
    axes = chart.figure.axes[0]
    image = axes.images[0]
    assert len(axes.texts) == 49
    for text in axes.texts:
        column, row = text.get_position()
        cell = luminance(image.cmap(image.norm(100 * rates[int(row), int(column)])))
        ink = {"black": 0.0, "white": 1.0}[str(text.get_color())]
        low, high = sorted((cell, ink))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def luminance(colour: Any) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_groups_without_any_rate_and_too_many_groups() -> None:
    nothing = draw_matches("m", Matches(("a",), ((None,),), ((1,),)), 0)
    assert nothing is not None
    assert nothing.text == "False matches between groups of m. insufficient data."
    names = tuple(str(place) for place in range(41))
    assert draw_matches("m", Matches(names, ((0.0,) * 41,) * 41, ((1,) * 41,) * 41), 0) is None
    assert draw_matches("m", Matches((), (), ()), 0) is None


def test_training_shows_the_baseline_and_the_best_epoch() -> None:
    history = [
        {"epoch": 0, "auc": 0.9, "loss": np.nan},
        {"epoch": 1, "auc": 0.95, "loss": 1.0},
        {"epoch": 2, "auc": 0.93},
    ]
    chart = draw_training("m", history, 1, 0)
    assert chart is not None
    loss, auc = chart.figure.axes
    dashed = [line for line in auc.get_lines() if line.get_linestyle() == "--"]
    assert [set(line.get_ydata()) for line in dashed] == [{0.9}]
    assert [tuple(line.get_xydata()[0]) for line in auc.get_lines() if line.get_marker() == "D"] == [(1, 0.95)]
    assert not [line for line in loss.get_lines() if line.get_linestyle() == "--"]
    assert "validation AUC from 0.9000 to 0.9300, 0.9500 at the best epoch, 1" in chart.text
    assert draw_training("m", [{"epoch": 0, "lr": 0.1}], None, 0) is None


def test_models_are_told_apart_without_colour() -> None:
    looks = [look(place) for place in range(140)]
    assert len({(one.colour, str(one.line), one.marker) for one in looks}) == 140
    assert len({(str(one.line), one.marker) for one in looks[:20]}) == 20
    for one, other in itertools.pairwise(looks):
        assert (str(one.line) != str(other.line)) and one.marker != other.marker


AWKWARD = ("_hidden", "costs $5 and $6", r"\frac{a}{b}$x$", "a" * 300, "two\nlines", "runs/ünï cödé")


def test_awkward_names_are_written_as_they_are() -> None:
    chart = draw_roc(make_series([model(name, seed=place) for place, name in enumerate(AWKWARD)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart.png()
    shown = [text.get_text().replace("\n", " ").replace(r"\$", "$") for text in chart.figure.legends[0].get_texts()]
    assert [text.partition(" (AUC")[0] for text in shown][:3] == list(AWKWARD[:3])
    assert len(shown) == 6
    assert "…" in shown[3]


def visible_texts(chart: Chart) -> Iterator[Text]:
    for text in chart.figure.findobj(Text):
        if text.get_visible() and text.get_text() and text.get_window_extent().width > 0:
            yield text


@pytest.fixture(scope="module")
def full() -> list[Chart]:
    return list(draw_charts(example(1000)))


def test_the_full_report_has_every_chart(full: list[Chart]) -> None:
    assert [chart.name for chart in full] == [
        *("roc", "roc-log", "det", "scores", "threshold", "reliability"),
        *("slices-1", "slices-2", "matches-2", "training-2"),
    ]
    for chart in full[:5]:
        assert all(name in chart.text for name in NAMES)


def test_no_text_is_cut_off_at_the_edge_of_a_chart(full: list[Chart]) -> None:
    for chart in full:
        chart.figure.draw_without_rendering()
        edge = chart.figure.bbox
        for text in visible_texts(chart):
            box = text.get_window_extent()
            ticks = [
                label for axes in chart.figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
            ]
            if text in ticks and not _inside_view(text, chart):
                continue
            assert box.x0 >= -1, (chart.name, text)
            assert box.y0 >= -1, (chart.name, text)
            assert box.x1 <= edge.width + 1, (chart.name, text)
            assert box.y1 <= edge.height + 1, (chart.name, text)


def _inside_view(text: Text, chart: Chart) -> bool:
    """Whether a tick label belongs to a tick that is drawn."""
    for axes in chart.figure.axes:
        for axis, limits, place in ((axes.xaxis, axes.get_xlim(), 0), (axes.yaxis, axes.get_ylim(), 1)):
            if text in axis.get_ticklabels():
                return min(limits) <= text.get_position()[place] <= max(limits)
    return True


def test_text_is_large_enough_for_a_phone(full: list[Chart]) -> None:
    for chart in full:
        pixels_per_point = 330 / chart.figure.get_figwidth() / 72
        assert all(text.get_fontsize() * pixels_per_point > 7 for text in visible_texts(chart))
        legends = [text for legend in chart.figure.legends for text in legend.get_texts()]
        assert all(text.get_fontsize() * pixels_per_point > 9.5 for text in legends)


def test_equal_charts_give_equal_bytes_without_a_date() -> None:
    first, second = (draw_roc(make_series([model()])).png() for _ in range(2))
    assert first == second
    with Image.open(io.BytesIO(first)) as picture:
        assert set(picture.info) <= {"dpi"}


@pytest.mark.parametrize(
    ("scores", "same"),
    [([0.5] * 4, [True, True, False, False]), ([0.9, 0.1], [True, False]), ([0.1, 0.9], [True, False])],
)
def test_degenerate_scores_can_be_drawn(scores: list[float], same: list[bool]) -> None:
    values, labels = np.array(scores), np.array(same)
    one = ModelContent("m", (), values, labels, values >= 0.5, threshold=float("inf"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for chart in draw_charts(ReportContent("t", (), (one, one))):
            assert chart.png().startswith(b"\x89PNG")
            assert "nan" not in chart.text
