"""The report as one HTML page that opens from disk, without network, scripts or fonts from elsewhere."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from siamese.atomic import atomic_path, write_text
from siamese.report import wording
from siamese.report.charts.all import draw_charts, remove_stale
from siamese.report.charts.chart import Chart
from siamese.report.content import Mistake, ModelContent, ReportContent
from siamese.report.diagnostics import diagnostics_rows
from siamese.report.measured import Figure, Slice
from siamese.report.pictures import Pictures, data_uri, jpeg_uri

PAGE, CHARTS = "report.html", "charts"


@dataclass(frozen=True)
class _Shown:
    """A chart as the page shows it."""

    chart: Chart
    uri: str
    width: int
    height: int


def write_report(content: ReportContent, folder: Path, pictures: Pictures) -> tuple[Path, ...]:
    """Write `report.html` and `charts/NAME.png`, each whole or not at all; equal content gives equal bytes.

    The page holds its charts itself and comes after them: it is the old one or the new one, whenever a writer is
    killed. Charts of an earlier report that this one does not have are removed; other files are left alone.

    Args:
        content: what the report shows.
        folder: where it goes; created where missing.
        pictures: gives the image at a path as RGB (H, W, 3) uint8, or None where it cannot be read. It is called once
            for each picture shown, and one picture at a time is held as pixels.

    Returns:
        The files, the page first.
    """
    drawn = draw_charts(content)
    written = [folder / PAGE]
    shown: dict[str, _Shown] = {}
    for chart in drawn:
        png = chart.png()
        path = folder / CHARTS / f"{chart.name}.png"
        with atomic_path(path) as temporary:
            temporary.write_bytes(png)
        written.append(path)
        width, height = struct.unpack(">II", png[16:24])  # of the header, which every PNG begins with
        shown[chart.name] = _Shown(chart, data_uri(png, "image/png"), width, height)
    sections = {
        name: [shown[chart.name] for chart in getattr(drawn, name)]
        for name in ("curves", "reliability", "slices", "matches", "training")
    }
    uris = {path: _picture(path, pictures) for path in content.pictures}
    write_text(folder / PAGE, _render(content, sections, uris))
    remove_stale(folder / CHARTS, {path.name for path in written})
    return tuple(written)


def _picture(path: str, pictures: Pictures) -> str | None:
    image = pictures(path)
    return None if image is None else jpeg_uri(image)


def _render(content: ReportContent, charts: dict[str, list[_Shown]], uris: dict[str, str | None]) -> str:
    environment = Environment(
        loader=PackageLoader("siamese.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": wording.count, "p_value": wording.p_value, "breakable": _breakable}
    template = environment.get_template("report.html.j2")
    return template.render(
        content=content,
        charts=charts,
        summary=list(_summary(content.models)),
        slices=list(_slice_tables(content.models)),
        diagnostics=diagnostics_rows([model.diagnostics for model in content.models if model.diagnostics]),
        insufficient=wording.INSUFFICIENT,
        number=wording.number,
        interval=wording.interval,
        uri=uris.get,
        describe=_describe,
        lacking=_lacking,
    )


def _finalize(value: Any) -> Any:
    """Every text that the page shows passes here, before it is escaped."""
    return wording.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(text: str) -> Markup:
    """A name or path that is broken across lines at its own joints, where it has to be."""
    # None of the signs is part of what escaping makes of others.
    return Markup(re.sub(r"([_/@])", r"\1<wbr>", str(escape(wording.printable(text)))))  # noqa: S704 (just escaped)


def _summary(models: tuple[ModelContent, ...]) -> Iterator[tuple[str, list[Figure | None]]]:
    """Each figure by name, with that of every model, None where a model does not have it."""
    found = [{figure.name: figure for figure in model.figures} for model in models]
    for name in dict.fromkeys(name for figures in found for name in figures):
        yield name, [figures.get(name) for figures in found]


def _slice_tables(models: tuple[ModelContent, ...]) -> Iterator[tuple[str, str, list[Slice]]]:
    """Column, name of the model, and its slices in their order."""
    for column in dict.fromkeys(part.column for model in models for part in model.slices):
        for model in models:
            parts = [part for part in model.slices if part.column == column]
            if parts:
                yield column, model.name, parts


def _lacking(part: Slice) -> str:
    """Why nothing of a slice was measured, where that is one reason for all; else nothing."""
    reasons = {figure.note for figure in part.figures if figure.value is None}
    unknown = all(figure.value is None for figure in part.figures)
    return reasons.pop() if unknown and len(reasons) == 1 else ""


def _describe(mistake: Mistake, path: str, identity: str | None) -> str:
    """What stands in for a picture of a mistake."""
    who = f" of {identity}" if identity is not None else ""
    return f"{path}{who}, one of a {'genuine pair rejected' if mistake.same else 'impostor pair accepted'}"
