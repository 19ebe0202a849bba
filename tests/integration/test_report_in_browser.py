"""The report in a real browser, without a window, at the widths of a desk and of phones."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from siamese.report.page import write_report

from ..report.example import example, face
from . import browser as driver
from .browser import NoBrowserError, Page, browser

WIDTHS = (1280, 390, 360)
# Text that its box cuts off: all but what scrolls inside, for which the page gives a region of its own.
CLIPPED = """
[...document.querySelectorAll("body *")].filter(box => {
  if (box.closest(".scroll, pre") || !box.clientWidth) return false;
  const right = box.getBoundingClientRect().right;
  return box.scrollWidth > box.clientWidth + 1 || right > innerWidth + 1;
}).map(box => `${box.tagName} ${box.className} ${box.textContent.slice(0, 60)}`)
"""
# Boxes with words in them that lie on each other: neighbours in the grids of cards and mistakes, and rows of lists.
OVERLAPPING = """
[...document.querySelectorAll("main, section, .cards, .charts, .mistakes, .pair, dl")].flatMap(parent => {
  const boxes = [...parent.children].map(child => [child, child.getBoundingClientRect()]);
  return boxes.flatMap(([one, a], place) => boxes.slice(place + 1).filter(([, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1
  ).map(([other]) => `${one.tagName} and ${other.tagName} in ${parent.tagName} ${parent.className}`));
})
"""
IMAGES = """
[...document.images].map(({complete, naturalWidth, clientWidth, alt}) => (
  {complete, width: naturalWidth, shown: clientWidth, alt}
))
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    try:
        with browser(tmp_path_factory.mktemp("profile")) as page:
            yield page
    except NoBrowserError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(example(), tmp_path_factory.mktemp("report with ünïcode"), face)[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_is_whole_at_every_width(tab: Page, report: Path, width: int) -> None:
    tab.open(report, width)
    assert tab.complaints() == []
    images: list[dict[str, Any]] = tab.evaluate(IMAGES)
    assert len(images) == 10 + 2 * 24 - len(tab.evaluate("[...document.querySelectorAll('.missing')].map(box => 1)"))
    assert all(image["complete"] and image["width"] > 0 and image["shown"] > 100 and image["alt"] for image in images)
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CLIPPED) == []
    assert tab.evaluate(OVERLAPPING) == []


def test_wide_tables_scroll_inside_on_a_phone(tab: Page, report: Path) -> None:
    tab.open(report, 390)
    inside = "[...document.querySelectorAll('.scroll')].map(box => [box.scrollWidth, box.clientWidth, box.tabIndex])"
    boxes = tab.evaluate(inside)
    assert any(content > visible for content, visible, _ in boxes)
    assert all(visible <= 390 and place == 0 for _, visible, place in boxes)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_the_page_in_both_schemes(tab: Page, report: Path, dark: bool) -> None:
    tab.open(report, 1280, dark=dark)
    colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    faint = "getComputedStyle(document.querySelector('.faint')).color"
    warning = "[getComputedStyle(document.querySelector('.warning')).color]"
    ink, page = tab.evaluate(colours)
    for colour in (ink, tab.evaluate(faint), *tab.evaluate(warning)):
        assert contrast(colour, page) >= 4.5  # WCAG 2.2, 1.4.3
    assert (luminance(page) < 0.1) is dark


def test_the_page_refuses_what_is_not_its_own(tab: Page, report: Path) -> None:
    """That the console is clean means something: what is planted there is refused, and seen."""
    tab.open(report, 1280)
    plant = "document.body.append(Object.assign(new Image(), {src: 'https://example.invalid/x.png'}))"
    tab.evaluate(f"new Promise(done => {{ {plant}; setTimeout(done, 300) }})")
    assert any("Content Security Policy" in text for text in tab.complaints())


def test_damage_is_found_where_there_is_some(tab: Page, tmp_path: Path) -> None:
    page = tmp_path / "damaged.html"
    page.write_text("<!DOCTYPE html><p style='width: 2000px'>wide</p><img src='none.png'><script>throw 1</script>")
    tab.open(page, 390)
    assert any("loadingFailed" in text for text in tab.complaints())
    assert any("exceptionThrown" in text for text in tab.complaints())
    assert tab.evaluate(IMAGES)[0]["width"] == 0
    assert tab.evaluate("document.documentElement.scrollWidth") > 390


def test_without_a_browser_that_starts_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    stub.write_text("#!/bin/sh\necho error while loading shared libraries: libnss3.so >&2\nexit 127\n")
    stub.chmod(0o755)
    monkeypatch.setenv("SIAMESE_BROWSER", str(stub))
    expected = "no browser: stub does not start (error while loading shared libraries: libnss3.so)"
    with pytest.raises(NoBrowserError, match=re.escape(expected)), browser(tmp_path):
        pass
    monkeypatch.setenv("SIAMESE_BROWSER", str(tmp_path / "none"))
    with (
        pytest.raises(NoBrowserError, match=r"no browser: none cannot be started \(No such file or directory\)$"),
        browser(tmp_path),
    ):
        pass


def test_a_browser_that_does_not_start_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("chromium", "google-chrome"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} is a stub >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.delenv("SIAMESE_BROWSER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(driver, "find_spec", lambda name: None)
    tried = "no browser: chromium does not start (chromium is a stub); google-chrome does not start (google-chrome is"
    with pytest.raises(NoBrowserError, match=re.escape(tried)), browser(tmp_path):
        pass


def test_qt_comes_after_every_chromium_and_only_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SIAMESE_BROWSER", raising=False)
    monkeypatch.setattr(driver.shutil, "which", {"chromium": "/bin/chromium"}.get)
    monkeypatch.setattr(driver, "find_spec", lambda name: name.startswith("PySide6") or None)
    commands = [command for command, _ in driver.find_commands(1, tmp_path)]
    assert [command[0] for command in commands] == ["/bin/chromium", sys.executable]
    assert "from PySide6.QtWebEngineWidgets import QWebEngineView" in commands[1][2]
    monkeypatch.setenv("SIAMESE_BROWSER", "mine")
    assert [command[0] for command, _ in driver.find_commands(1, tmp_path)] == ["mine"]


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, WCAG 2.2."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
