"""False matches between groups as a heat map, with the numbers in its cells."""

from typing import TYPE_CHECKING

import numpy as np

from siamese.report.charts.chart import GREY, Chart, blank, tidy
from siamese.report.content import Matches
from siamese.report.wording import INSUFFICIENT, number, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Numbers in the cells of more groups could not be read.
MOST_NUMBERS = 12
# And names of more groups run into each other.
MOST = 40


def draw_matches(name: str, matches: Matches, place: int) -> Chart | None:
    """The share of impostor pairs accepted, for every two groups.

    Args:
        name: of the model.
        matches: its false matches.
        place: of the model, for the name of the file.

    Returns:
        None without groups, or with so many that no chart shows them.
    """
    size = len(matches.groups)
    if not 0 < size <= MOST:
        return None
    rates = np.array([[np.nan if rate is None else rate for rate in row] for row in matches.far])
    figure = blank(4.0)
    axes = figure.add_subplot()
    highest = float(np.nanmax(rates)) if np.isfinite(rates).any() else 0.0
    axes.set_facecolor("white")
    axes.patch.set(hatch="////", edgecolor="0.8")
    image = axes.imshow(100 * rates, cmap="Blues", vmin=0.0, vmax=100 * highest or 1.0)
    names = [wrapped(group, 14, lines=2) for group in matches.groups]
    small = 9 if size <= 7 else 7
    axes.set_xticks(range(size), names, fontsize=small, rotation=90 if size > 4 else 0)
    axes.set_yticks(range(size), names, fontsize=small)
    if size <= MOST_NUMBERS:
        _write_numbers(axes, rates, highest)
    tidy(axes, "", "")
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.75)
    bar.set_label("FAR in %")
    if np.isnan(rates).any():
        figure.supxlabel(f"hatched: {INSUFFICIENT}", fontsize=9, color=GREY)
    return Chart(
        name=f"matches-{place + 1}",
        title=f"False matches between groups, {name}",
        reading="Share of the impostor pairs of two groups that was accepted, in percent; on the diagonal within one "
        "group. Darker is worse.",
        text=f"False matches between groups of {name}. {_words(matches, rates)}.",
        figure=figure,
    )


def _write_numbers(axes: "Axes", rates: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", highest: float) -> None:
    for (row, column), rate in np.ndenumerate(rates):
        if np.isnan(rate):
            continue
        dark = rate > 0.55 * highest
        axes.text(
            *(column, row, f"{100 * rate:.2f}" if rate < 0.1 else f"{100 * rate:.1f}"),
            ha="center",
            va="center",
            fontsize=9 if len(rates) <= 7 else 6.5,
            color="white" if dark and highest > 0 else "black",
        )


def _words(matches: Matches, rates: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> str:
    if not np.isfinite(rates).any():
        return INSUFFICIENT
    row, column = np.unravel_index(int(np.nanargmax(rates)), rates.shape)
    where = f"{matches.groups[row]} and {matches.groups[column]}"
    where = f"within {matches.groups[row]}" if row == column else f"between {where}"
    missing = int(np.isnan(rates).sum())
    more = f"; {INSUFFICIENT} in {missing} of {rates.size} cells" if missing else ""
    within = np.diag(rates)
    said = f"highest {where}, FAR {number(float(rates[row, column]), percent=True)}"
    if np.isfinite(within).any():
        said += f"; mean within groups {number(float(np.nanmean(within)), percent=True)}"
    return said + more
