import io
import re
import tomllib
from base64 import b64decode
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from siamese.report.charts.all import remove_stale
from siamese.report.content import Comparison, Mistake, Mistakes, ModelContent, ReportContent
from siamese.report.measured import Fact, Figure, Slice
from siamese.report.page import write_report

from .example import NAMES, example, face

VOID = {"meta", "link", "img", "br"}
EVIL = "<script>alert('1')</script>\"><img src=x onerror=alert(1)>.jpg"
SAME = np.arange(20) % 2 == 0
GREY = np.full((8, 8, 3), 128, np.uint8)


class Tree(HTMLParser):
    """Tags with their attributes and text; what is not closed, or closed twice, is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page.replace("<wbr>", ""))  # a place to break a line, no break in what is said
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def small(name: str = "m", **more: Any) -> ReportContent:
    scores = np.where(SAME, 0.7, 0.2) + np.arange(20) / 100
    values: dict[str, Any] = {"title": "A title", "measured": ()} | more
    return ReportContent(models=(ModelContent(name, (), scores, SAME, scores > 0.5, 0.5),), **values)


def mistakes(*paths: str, identity: str | None = None, model: str = "m") -> tuple[Mistakes, ...]:
    accepts = tuple(Mistake(path, path, False, 0.9, 0.5, identity, identity) for path in paths)
    return (Mistakes(model, accepts, (), len(accepts), 0, 2),)


def write(content: ReportContent, folder: Path, pictures: Any = lambda path: GREY) -> Tree:
    return Tree(write_report(content, folder, pictures)[0].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, ...], Tree]:
    written = write_report(example(1000), tmp_path_factory.mktemp("a folder") / "new", face)
    return written, Tree(written[0].read_text(encoding="utf-8"))


def test_the_page_and_every_chart_are_written(full: tuple[tuple[Path, ...], Tree]) -> None:
    written, tree = full
    assert written[0].name == "report.html"
    assert {path.parent.name for path in written[1:]} == {"charts"}
    assert sorted(path for path in written[0].parent.rglob("*") if path.is_file()) == sorted(written)
    embedded = {b64decode(image["src"].split(",")[1]) for image in tree.of("img") if "png" in str(image["src"])[:20]}
    assert embedded == {path.read_bytes() for path in written[1:]}


def test_nothing_comes_from_elsewhere(full: tuple[tuple[Path, ...], Tree]) -> None:
    written, tree = full
    links = [value for _, attributes in tree.tags for key, value in attributes.items() if key in ("src", "href")]
    assert links
    assert all(str(link).startswith(("data:", "#")) for link in links)
    assert tree.of("script") == []
    assert not any(key.startswith("on") for _, attributes in tree.tags for key in attributes)
    style = "".join(tree.text_of("style"))
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in re.sub(r"data:[^\"]+", "", written[0].read_text(encoding="utf-8")).replace("http-equiv", "")
    (policy,) = [str(meta["content"]) for meta in tree.of("meta") if "http-equiv" in meta]
    assert policy.split("; ")[:3] == ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]


def test_links_lead_to_sections_and_ids_are_unique(full: tuple[tuple[Path, ...], Tree]) -> None:
    tree = full[1]
    ids = [attributes["id"] for _, attributes in tree.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [f"#{name}" for name in ids] == [link["href"] for link in tree.of("a")]


def test_everything_has_a_name_for_those_who_do_not_see_it(full: tuple[tuple[Path, ...], Tree]) -> None:
    tree = full[1]
    assert tree.of("html") == [{"lang": "en"}]
    assert tree.text_of("title") == tree.text_of("h1") == ["Verification of faces: three models on 6,000 pairs"]
    assert all(len(image["alt"] or "") > 10 for image in tree.of("img"))
    assert len(tree.of("caption")) == len(tree.of("table")) > 5
    assert {head["scope"] for head in tree.of("th")} == {"row", "col"}
    levels = [int(tag[1]) for tag, _ in tree.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert "width=device-width" in str(tree.of("meta"))


def test_figures_intervals_warnings_and_verdicts_are_said(tmp_path: Path) -> None:
    content = small(
        measured=(Fact("failed", "3 pairs", "2 images could not be read"),),
        comparisons=(Comparison("a", "b", (Figure("AUC", -0.25, -0.5, 0.125),), "no significant difference", 0.61),),
        intervals="95 % of something",
        command="siamese evaluate m",
    )
    one = content.models[0]
    figures = (Figure("TAR", 0.5, 0.25, 0.75, "a remark", percent=True), Figure("AUC", None))
    model = ModelContent(one.name, (), one.scores, one.same, one.accepted, figures=figures)
    tree = write(ReportContent(**(vars(content) | {"models": (model, one)})), tmp_path)
    said = [text for _, text in tree.texts]
    wanted = (
        "50.00 %",
        "[25.00, 75.00] %",
        "a remark",
        "insufficient data",
        "not measured",
        "2 images could not be read",
    )
    assert all(text in said for text in wanted)
    minus = "\N{MINUS SIGN}"
    assert f"{minus}0.2500" in said
    assert f"[{minus}0.5000, +0.1250]" in said
    assert "no significant difference (p = 0.610)" in said
    assert "siamese evaluate m" in said
    assert "Figures of each model, in brackets their intervals (95 % of something)" in said


def test_what_was_not_measured_has_no_section(tmp_path: Path) -> None:
    tree = write(small(), tmp_path)
    assert tree.text_of("h2") == ["Summary", "Curves", "Origin"]


def test_names_and_paths_are_text_and_never_markup(tmp_path: Path) -> None:
    content = small(
        EVIL,
        title=EVIL,
        measured=(Fact(EVIL, EVIL, EVIL),),
        comparisons=(Comparison(EVIL, EVIL, (Figure(EVIL, 0.5, note=EVIL),), EVIL),),
        mistakes=mistakes(EVIL, identity=EVIL, model=EVIL),
        command=EVIL,
        versions=(Fact(EVIL, EVIL),),
    )
    tree = write(content, tmp_path)
    assert tree.of("script") == []
    assert not any(key.startswith("on") for _, attributes in tree.tags for key in attributes)
    assert all(str(image["src"]).startswith("data:") for image in tree.of("img"))
    assert tree.text_of("title") == [EVIL]
    assert sum(EVIL in text for _, text in tree.texts) >= 15
    assert any(EVIL in (image["alt"] or "") for image in tree.of("img"))


def test_paths_that_are_no_unicode_are_shown_and_still_read(tmp_path: Path) -> None:
    strange = b"Zo\xeb\x01.jpg".decode("utf-8", "surrogateescape")
    asked: list[str] = []

    def pictures(path: str) -> NDArray[np.uint8]:
        asked.append(path)
        return GREY

    tree = write(small(mistakes=mistakes(strange)), tmp_path, pictures)
    assert asked == [strange]
    assert "Zo\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.jpg" in tree.text_of("bdi")


def test_mistakes_are_pictures_side_by_side_and_unreadable_ones_say_so(tmp_path: Path) -> None:
    asked: list[str] = []

    def pictures(path: str) -> NDArray[np.uint8] | None:
        asked.append(path)
        return None if path == "b" else np.full((300, 300, 3), 200, np.uint8)

    tree = write(small(mistakes=mistakes("a", "b", "a")), tmp_path, pictures)
    assert asked == ["a", "b"]
    shown = [str(image["src"]) for image in tree.of("img") if "jpeg" in str(image["src"])[:20]]
    assert len(shown) == 4
    with Image.open(io.BytesIO(b64decode(shown[0].split(",")[1]))) as picture:
        assert picture.size == (224, 224)
    said = [text for _, text in tree.texts]
    assert said.count("this picture cannot be read") == 2
    assert (
        "3 impostor pairs in all were accepted; the 3 furthest above the threshold, at most 2 of one identity."
        in said
    )
    assert "0 genuine pairs in all were rejected." in said


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_report(small(mistakes=mistakes("a")), tmp_path / name, lambda path: GREY) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_report_replaces_the_earlier_one_or_leaves_it_whole(tmp_path: Path) -> None:
    page = write_report(small(), tmp_path, lambda path: GREY)[0]
    before = page.read_bytes()

    def broken(path: str) -> NDArray[np.uint8]:
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        write_report(small(title="new", mistakes=mistakes("a")), tmp_path, broken)
    assert page.read_bytes() == before
    write_report(small(title="new"), tmp_path, lambda path: GREY)
    assert "<title>new</title>" in page.read_text(encoding="utf-8")
    assert not list(tmp_path.rglob(".*"))


def test_charts_of_an_earlier_report_go_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "charts"
    folder.mkdir()
    stale = ["slices-3.png", "matches-12.png", "training-1.png", "reliability.png"]
    others = ["slices-3.svg", "slices-old.png", "slices-03.png", "my roc.png", ".roc.png", "notes.txt", "roc.png.bak"]
    for name in (*stale, *others, "roc.png"):
        (folder / name).write_text("old")
    (tmp_path / "slices-3.png").write_text("old")
    (folder / "matches-2.png").mkdir()  # a folder of that name is nobody's chart
    written = write_report(small(), tmp_path, lambda path: GREY)
    left = {path.name for path in folder.iterdir()}
    assert left == {path.name for path in written[1:]} | set(others) | {"matches-2.png"}
    assert (folder / "roc.png").read_bytes() != b"old"
    assert (tmp_path / "slices-3.png").read_text() == "old"


def test_every_chart_of_a_full_report_would_be_removed_when_stale(
    full: tuple[tuple[Path, ...], Tree], tmp_path: Path
) -> None:
    """A chart that gets a new name must be known to what removes the old ones."""
    for path in full[0][1:]:
        (tmp_path / path.name).touch()
    remove_stale(tmp_path, set())
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_dies_before_the_page_leaves_the_old_one_and_its_charts(tmp_path: Path) -> None:
    page = write_report(small(), tmp_path, lambda path: GREY)[0]
    before = page.read_bytes()
    (tmp_path / "charts" / "training-1.png").write_text("of the old page")

    def killed(path: str) -> NDArray[np.uint8]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(small(title="new", mistakes=mistakes("a")), tmp_path, killed)
    assert page.read_bytes() == before
    assert (tmp_path / "charts" / "training-1.png").exists()


def test_the_baseline_has_a_section_of_its_own_or_says_why_not(tmp_path: Path) -> None:
    gained = Comparison("before", "after", (Figure("AUC", 0.25, 0.125, 0.5, note="better"),), "AUC: after is better.")
    tree = write(small(baseline=gained), tmp_path)
    assert tree.text_of("h2") == ["Summary", "Baseline against fine-tuned", "Curves", "Origin"]
    said = [text for _, text in tree.texts]
    assert all(text in said for text in ("AUC: after is better.", "+0.2500", "[+0.1250, +0.5000]", "better"))
    tree = write(small(no_baseline="weights x.pt: no such file"), tmp_path)
    assert "Not compared: weights x.pt: no such file." in [text for _, text in tree.texts]
    assert "Baseline against fine-tuned" in tree.text_of("h2")


def test_diagnostics_are_a_table_with_a_sentence_for_each(full: tuple[tuple[Path, ...], Tree]) -> None:
    tree = full[1]
    said = [text for _, text in tree.texts]
    for name in ("genuine scores", "impostor scores", "separation d\N{PRIME}", "alignment", "uniformity"):
        assert said.count(name) == 2
    assert said.count("not known") == 2
    assert any(text.startswith("Mean squared distance of two embeddings of one identity") for text in said)


def test_a_slice_without_figures_says_why_once(tmp_path: Path) -> None:
    one = small().models[0]
    why = "6 genuine pairs, fewer than 10"
    slices = (
        Slice("pose", "frontal", 40, 40, (Figure("accuracy", 0.75), Figure("FAR", None, note="undefined"))),
        Slice("pose", "profile", 6, 40, (Figure("accuracy", None, note=why), Figure("FAR", None, note=why))),
    )
    model = ModelContent(one.name, (), one.scores, one.same, one.accepted, slices=slices)
    tree = write(ReportContent("t", (), (model,)), tmp_path)
    assert [text for _, text in tree.texts].count(why) == 1
    assert [cell["colspan"] for cell in tree.of("td") if "colspan" in cell] == ["2"]
    assert "undefined" in [text for _, text in tree.texts]


def test_templates_are_shipped_with_the_package() -> None:
    project = Path(__file__).parents[2]
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    room = project / "siamese" / "report"
    shipped = {path for pattern in settings["package-data"]["siamese.report"] for path in room.glob(pattern)}
    assert {path for path in (room / "templates").iterdir() if path.is_file()} == shipped
    assert {path.name for path in shipped} == {"report.html.j2", "report.css"}


def test_the_names_of_all_models_head_the_summary(full: tuple[tuple[Path, ...], Tree]) -> None:
    heads = [text for text in full[1].text_of("th") if text in NAMES]
    assert heads[:3] == list(NAMES)
