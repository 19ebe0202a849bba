"""False matches between groups as a heat map, with the numbers in its cells."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from siamese.report.charts.chart import GREY, Chart, blank, tidy
from siamese.report.measured import Matches
from siamese.report.wording import INSUFFICIENT, number, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# Numbers in the cells of more groups could not be read.
MOST_NUMBERS = 12
# Of this luminance black and white stand out alike: (1.05 / (L + .05)) = ((L + .05) / .05), 4.6 either way.
_AS_FAR_FROM_BLACK = 0.05 * (21**0.5 - 1)
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
        _write_numbers(axes, rates, _luminances(np.asarray(image.cmap(image.norm(100 * np.nan_to_num(rates))))))
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


def _write_numbers(axes: "Axes", rates: Floats, luminances: Floats) -> None:
    for ((row, column), rate), luminance in zip(np.ndenumerate(rates), luminances.flat, strict=True):
        known = not np.isnan(rate)
        axes.text(
            *(column, row, _cell(rate) if known else "\N{EN DASH}"),
            ha="center",
            va="center",
            fontsize=9 if len(rates) <= 7 else 6.5,
            color="white" if known and luminance < _AS_FAR_FROM_BLACK else "black",
            bbox=None if known else {"facecolor": "white", "edgecolor": "none", "pad": 1},
        )


def _cell(rate: float) -> str:
    return f"{100 * rate:.2f}" if rate < 0.1 else f"{100 * rate:.1f}"


def _luminances(colours: Floats) -> Floats:
    """Relative luminance (WCAG 2.2) of colours (..., 4), red, green, blue and alpha in [0, 1]."""
    parts = colours[..., :3]
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _words(matches: Matches, rates: Floats) -> str:
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
