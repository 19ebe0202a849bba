"""Every chart that a report's content has data for."""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from siamese.report.charts.chart import Chart
from siamese.report.charts.det import draw_det
from siamese.report.charts.histograms import draw_histograms
from siamese.report.charts.matches import draw_matches
from siamese.report.charts.over_threshold import draw_over_threshold
from siamese.report.charts.reliability import draw_reliability
from siamese.report.charts.roc import draw_log_roc, draw_roc
from siamese.report.charts.series import Series, make_series
from siamese.report.charts.slices import draw_slices, slice_columns
from siamese.report.charts.training import draw_training
from siamese.report.content import ReportContent

# The files that any report writes below its folder of charts.
_FILES = re.compile(r"(roc|roc-log|det|scores|threshold|reliability|(slices|matches|training)-[1-9][0-9]*)\.png")


@dataclass(frozen=True)
class Charts:
    """The charts of a report, by the section that shows them.

    Attributes:
        curves: ROC, DET, scores and figures over the threshold.
        reliability: of probabilities; empty where no model has them.
        slices: one for each column.
        matches: one for each model with groups.
        training: one for each model with a history.
    """

    curves: tuple[Chart, ...]
    reliability: tuple[Chart, ...]
    slices: tuple[Chart, ...]
    matches: tuple[Chart, ...]
    training: tuple[Chart, ...]

    def __iter__(self) -> Iterator[Chart]:
        """All of them, in the order of the page."""
        yield from (*self.curves, *self.reliability, *self.slices, *self.matches, *self.training)


def draw_charts(content: ReportContent) -> Charts:
    """Draw them; the scores of each model are sorted once."""
    series = make_series(content.models)
    return Charts(
        curves=tuple(
            draw(series) for draw in (draw_roc, draw_log_roc, draw_det, draw_histograms, draw_over_threshold)
        ),
        reliability=_present([draw_reliability(series)]),
        slices=tuple(draw_slices(series, column, place) for place, column in enumerate(slice_columns(series))),
        matches=_present([_matches(one, place) for place, one in enumerate(series)]),
        training=_present([_training(one, place) for place, one in enumerate(series)]),
    )


def remove_stale(folder: Path, kept: Set[str]) -> None:
    """Remove the charts of an earlier report from a folder, and nothing else.

    Args:
        folder: of charts.
        kept: names of files that stay.
    """
    for file in folder.iterdir():
        if file.name not in kept and _FILES.fullmatch(file.name) and file.is_file():
            file.unlink(missing_ok=True)


def _matches(one: Series, place: int) -> Chart | None:
    return None if one.model.matches is None else draw_matches(one.name, one.model.matches, place)


def _training(one: Series, place: int) -> Chart | None:
    history = one.model.history
    return None if history is None else draw_training(one.name, history, one.model.best_epoch, place)


def _present(charts: Sequence[Chart | None]) -> tuple[Chart, ...]:
    return tuple(chart for chart in charts if chart is not None)
