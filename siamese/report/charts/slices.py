"""Parts of the pairs, each with its interval: a forest plot, the worst part on top."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from siamese.report.charts.chart import SMALL, Chart, blank, name_below, tidy
from siamese.report.charts.series import Series, each
from siamese.report.measured import Figure, Slice
from siamese.report.wording import INSUFFICIENT, count, figure_words, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A chart of more is as tall as a wall; the table has them all.
MOST = 20
# Nor do rows that show nothing earn their space.
MOST_LACKING = 3
_SPREAD = 0.5  # of the space between two rows, shared by the models


def slice_columns(series: Sequence[Series]) -> list[str]:
    """The columns that any model was measured by, in the order in which they come."""
    return list(dict.fromkeys(part.column for one in series for part in one.model.slices if part.figures))


def draw_slices(series: Sequence[Series], column: str, place: int) -> Chart:
    """The first figure of each slice of a column, in the order of the first model that has them.

    Args:
        series: the models.
        column: one of `slice_columns`.
        place: of the column among them, for the name of the file.
    """
    measured = [one for one in series if any(_of(part, column) for part in one.model.slices)]
    found = {id(one): {part.value: part for part in one.model.slices if _of(part, column)} for one in measured}
    values = list(dict.fromkeys(value for parts in found.values() for value in parts))
    shown, left_out = _shown(values, found.values())
    metric = next(iter(found[id(measured[0])].values())).figures[0].name
    figure = blank(0.9 + 0.45 * len(shown) + 0.08 * len(shown) * len(measured))
    axes = figure.add_subplot()
    handles = [_draw(axes, one, found[id(one)], shown, rank, len(measured)) for rank, one in enumerate(measured)]
    first = found[id(measured[0])]
    axes.set_yticks(range(len(shown)), [_label(value, first.get(value)) for value in shown], fontsize=SMALL)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    percent = next(iter(first.values())).figures[0].percent
    tidy(axes, metric, "")
    if percent:
        from matplotlib.ticker import PercentFormatter

        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.locator_params(axis="x", nbins=5)
    axes.set_title(wrapped(f"by {column}", 40), fontsize=10, loc="left")
    name_below(figure, handles, [one.name for one in measured])
    return Chart(
        name=f"slices-{place + 1}",
        title=f"Slices by {column}",
        reading=f"{metric[:1].upper()}{metric[1:]} of each part of the pairs with its interval, the worst part on "
        f"top; the thin vertical line is that of all pairs.{left_out}",
        text=f"{metric} by {column}. {each(measured, [_words(list(found[id(one)].values())) for one in measured])}",
        figure=figure,
    )


def _shown(values: list[str], found: Iterable[dict[str, Slice]]) -> tuple[list[str], str]:
    """The slices that are drawn, of those without a figure only a few, and in words what is not."""
    known = {value for parts in found for value, part in parts.items() if part.figures[0].value is not None}
    measured = [value for value in values if value in known]
    lacking = [value for value in values if value not in known]
    said = ""
    if len(measured) > MOST:
        said += f" The {count(len(measured) - MOST)} best of {count(len(measured))} are in the table only."
    if len(lacking) > MOST_LACKING:
        said += f" {count(len(lacking))} parts with {INSUFFICIENT} are in the table only."
        lacking = []
    return [*measured[:MOST], *lacking], said


def _of(part: Slice, column: str) -> bool:
    return part.column == column and bool(part.figures)


def _draw(axes: "Axes", one: Series, parts: dict[str, Slice], shown: list[str], rank: int, models: int) -> Any:
    shift = 0.0 if models == 1 else _SPREAD * (rank / (models - 1) - 0.5)
    for row, value in enumerate(shown):
        figure = parts[value].figures[0] if value in parts else None
        if figure is None:
            continue
        if figure.value is None:
            axes.annotate(
                *(INSUFFICIENT, (0.01, row + shift)),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8 if models > 1 else SMALL,
                color=one.look.colour,
            )
            continue
        _draw_figure(axes, one, figure, figure.value, row + shift)
    whole = _of_all(one, next(iter(parts.values())).figures[0].name)
    if whole is not None:
        axes.axvline(whole, color=one.look.colour, linestyle=one.look.line, linewidth=0.8, alpha=0.7, zorder=1)
    return axes.plot([], [], color=one.look.colour, marker=one.look.marker, linestyle=one.look.line, linewidth=1.3)[0]


def _draw_figure(axes: "Axes", one: Series, figure: Figure, value: float, height: float) -> None:
    if figure.low is not None and figure.high is not None:
        ends = axes.plot([figure.low, figure.high], [height, height], color=one.look.colour, linewidth=1.5)
        ends[0].set(marker="|", markersize=6)
    axes.plot([value], [height], color=one.look.colour, marker=one.look.marker, markersize=6, linestyle="none")


def _of_all(one: Series, name: str) -> float | None:
    return next((figure.value for figure in one.model.figures if figure.name == name), None)


def _label(value: str, part: Slice | None) -> str:
    pairs = f"\n{count(part.genuine + part.impostor)} pairs" if part is not None else ""
    return wrapped(value, 18, lines=2) + pairs


def _words(parts: list[Slice]) -> str:
    figures = [(part.value, part.figures[0]) for part in parts]
    measured = [(value, figure) for value, figure in figures if figure.value is not None]
    said = [f"worst {value}, {figure_words(figure)}" for value, figure in measured[:1]]
    if len(measured) > 1:
        said.append(f"best {measured[-1][0]}, {figure_words(measured[-1][1])}")
    missing = len(figures) - len(measured)
    if missing:
        said.append(f"{INSUFFICIENT} for {count(missing)} of {count(len(figures))}")
    return "; ".join(said)
