from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.encoders import create_encoder
from siamese.errors import DataError, OptionError
from siamese.inference import gallery_protocol
from siamese.inference.gallery_protocol import GalleryEvaluation, identify, write_probes
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork

PEOPLE, PHOTOS = 12, 4
# Those with one photograph, whom nobody enrols.
STRANGERS = 5


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patterns, each person's the same but for heavy noise, and strangers of one image."""
    folder, rng = tmp_path_factory.mktemp("people") / "Leute mit Ümläuten", np.random.default_rng(0)
    for person in range(PEOPLE + STRANGERS):
        (folder / f"p{person:02}").mkdir(parents=True)
        pattern = np.kron(rng.uniform(0, 255, (4, 4, 3)), np.ones((8, 8, 1)))
        for photo in range(PHOTOS if person < PEOPLE else 1):
            pixels = np.clip(0.4 * pattern + rng.normal(80, 50, pattern.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"p{person:02}" / f"{photo}.png")
    return folder


def network(pair_head: str | None) -> SiameseNetwork:
    torch.manual_seed(0)
    built = SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(32, 32)), pair_head=pair_head)
    with torch.no_grad():
        for parameter in built.pair_head.parameters() if built.pair_head is not None else ():
            parameter += 0.2 * torch.randn(parameter.shape)
    return built


@pytest.fixture(scope="module", params=[None, "difference+product"])
def verifier(request: pytest.FixtureRequest) -> Verifier:
    return Verifier("net", network(request.param), None, device="cpu")


@pytest.fixture(scope="module")
def cosine() -> Verifier:
    return Verifier("net", network(None), None, device="cpu")


def by_loops(verifier: Verifier, root: Path, found: GalleryEvaluation, run: int) -> list[dict[str, object]]:
    """Each probe of a run compared with each gallery image, two at a time."""
    table, rows = found.table, found.runs[run]
    vectors = verifier.embed([root / path for path in table["path"]]).vectors
    pairs = [(probe, row) for probe in rows.probes for row in rows.gallery]
    left, right = (vectors[list(side)] for side in zip(*pairs, strict=True))
    score = dict(zip(pairs, verifier.similarity(left, right).tolist(), strict=True))
    answers = []
    for probe in rows.probes:
        path, identity = table["path"][probe], table["identity"][probe]
        best: dict[str, float] = {}
        for row in rows.gallery:
            name = table["identity"][row]
            best[name] = max(best.get(name, -2.0), score[probe, row])
        rank = (
            1 + sum(best[name] >= best[identity] for name in best if name != identity) if identity in best else None
        )
        nearest = max(best, key=lambda name: best[name])
        answers.append({"path": path, "best": nearest, "similarity": best[nearest], "rank": rank})
    return answers


@pytest.mark.parametrize("gallery_images", [1, 2])
def test_drawn_galleries_give_what_loops_over_pairs_give(
    verifier: Verifier, people: Path, gallery_images: int
) -> None:
    found = identify(verifier, people, gallery_images=gallery_images, runs=2, seed=4)
    measured, ranks = found.measured, []
    assert (measured.gallery, measured.identities) == (PEOPLE * gallery_images, PEOPLE)
    assert (measured.mated, measured.non_mated) == (PEOPLE * (PHOTOS - gallery_images), STRANGERS)
    for run in range(2):
        expected = by_loops(verifier, people, found, run)
        search = found.runs[run].found
        np.testing.assert_allclose(search.best, [row["similarity"] for row in expected], atol=1e-6)
        assert found.names[search.nearest].tolist() == [row["best"] for row in expected]
        mated = [row["rank"] for row in expected if row["rank"] is not None]
        assert (search.ranks[search.mated] + 1).tolist() == mated
        assert search.mated.tolist() == [row["rank"] is not None for row in expected]
        ranks.append(mated)
    for rank in (1, 5, 10):
        share = np.mean([np.mean(np.array(run) <= rank) for run in ranks])
        assert measured.cmc[str(rank)].value == pytest.approx(share, rel=1e-15)
    assert 0.05 < measured.cmc["1"].value < 0.99  # neither trivial nor hopeless
    assert len({tuple(run.gallery) for run in found.runs}) == 2


def test_every_image_is_embedded_once_whatever_the_runs(
    cosine: Verifier, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    forward = SiameseNetwork.forward
    monkeypatch.setattr(
        SiameseNetwork, "forward", lambda self, images: (rows.append(len(images)), forward(self, images))[1]
    )
    found = identify(cosine, people, runs=7)
    assert sum(rows) == found.images == PEOPLE * PHOTOS + STRANGERS


def test_the_default_is_ten_draws_of_one_image_and_a_seed_repeats_them(cosine: Verifier, people: Path) -> None:
    found, again, other = (identify(cosine, people, seed=seed) for seed in (0, 0, 1))
    assert (found.measured.runs, found.per_identity, found.seed) == (10, 1, 0)
    assert found.as_json() == again.as_json()
    assert [run.gallery.tolist() for run in found.runs] != [run.gallery.tolist() for run in other.runs]
    assert found.measured.deviations["cmc=1"] is not None


def split(people: Path, folder: Path, enrolled: Callable[[int], bool]) -> tuple[Path, Path]:
    """A gallery of each person's first image, where `enrolled` says so, and all other images as probes."""
    for image in sorted(people.glob("*/*.png")):
        first = image.stem == "0" and enrolled(int(image.parent.name[1:]))
        target = folder / ("gallery" if first else "probes") / image.parent.name
        target.mkdir(parents=True, exist_ok=True)
        (target / image.name).write_bytes(image.read_bytes())
    return folder / "gallery", folder / "probes"


def test_a_given_gallery_is_searched_as_it_is(verifier: Verifier, people: Path, tmp_path: Path) -> None:
    gallery, probes = split(people, tmp_path, lambda person: person < 9)
    found = identify(verifier, probes, gallery=gallery)
    assert (found.measured.runs, found.measured.identities, found.measured.gallery) == (1, 9, 9)
    assert (found.per_identity, found.seed, found.repeated) == (None, None, 0)
    assert (found.measured.mated, found.measured.non_mated) == (9 * 3, 3 * 4 + STRANGERS)
    table = pd.concat([found.table.iloc[found.runs[0].gallery], found.table.iloc[found.runs[0].probes]])
    assert len(table) == found.images == PEOPLE * PHOTOS + STRANGERS
    enrolled, asked = sorted(gallery.glob("*/*.png")), sorted(probes.glob("*/*.png"))
    vectors, others = (verifier.embed(files).vectors for files in (asked, enrolled))
    expected = []
    for probe in vectors:
        scores = verifier.similarity(np.tile(probe, (len(others), 1)), others)
        expected.append(enrolled[int(np.argmax(scores))].parent.name)
    assert found.names[found.runs[0].found.nearest].tolist() == expected
    assert set(found.measured.deviations.values()) == {None}


def test_a_manifest_serves_as_the_gallery(cosine: Verifier, people: Path, tmp_path: Path) -> None:
    gallery, probes = split(people, tmp_path, lambda person: True)
    rows = [f"{file.relative_to(tmp_path).as_posix()},{file.parent.name}" for file in sorted(gallery.glob("*/*.png"))]
    (tmp_path / "gallery.csv").write_text("\n".join(["path,identity", *rows]), encoding="utf-8")
    listed = identify(cosine, probes, gallery=tmp_path / "gallery.csv")
    assert listed.as_json() == identify(cosine, probes, gallery=gallery).as_json()


def test_probes_that_are_gallery_images_too_are_left_out(
    cosine: Verifier, people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{people / f'p{person:02}' / '0.png'},p{person:02}" for person in range(PEOPLE)]
    listing = tmp_path / "gallery.csv"
    listing.write_text("\n".join(["path,identity", *rows]), encoding="utf-8")
    found = identify(cosine, people, gallery=listing)
    assert (found.repeated, found.measured.gallery) == (PEOPLE, PEOPLE)
    assert (found.measured.mated, found.measured.non_mated) == (PEOPLE * (PHOTOS - 1), STRANGERS)
    assert "12 of 53 images are in the gallery too, and are no probes" in caplog.text
    with pytest.raises(DataError, match=r": all 53 images are in the gallery .* too; give others as probes$"):
        identify(cosine, people, gallery=people)


def test_images_that_fail_are_counted_and_named(
    cosine: Verifier, people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery, probes = split(people, tmp_path, lambda person: True)
    (probes / "p00" / "1.png").write_bytes(b"no image")
    found = identify(cosine, probes, gallery=gallery)
    assert (found.failed, found.images) == (1, PEOPLE * PHOTOS + STRANGERS)
    assert found.measured.mated == PEOPLE * (PHOTOS - 1) - 1
    assert "1 of 53 images could not be embedded and are left out; first: " in caplog.text
    assert "p00/1.png" in caplog.text
    for image in gallery.glob("*/*.png"):
        image.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"gallery: none of its images can be embedded"):
        identify(cosine, probes, gallery=gallery)


def test_the_table_of_probes_holds_every_search(cosine: Verifier, people: Path, tmp_path: Path) -> None:
    found = identify(cosine, people, runs=2)
    write_probes(found, tmp_path / "probes.csv")
    table = pd.read_csv(tmp_path / "probes.csv")
    columns = ["run", "path", "identity", "best_identity", "similarity", "right_similarity", "rank", "mated"]
    assert table.columns.tolist() == columns
    assert table["run"].value_counts().to_dict() == {1: 41, 2: 41}
    mated = table[table["mated"] == 1]
    assert mated.groupby("run")["rank"].apply(lambda ranks: (ranks == 1).mean()).mean() == pytest.approx(
        found.measured.cmc["1"].value
    )
    assert ((mated["rank"] == 1) == (mated["best_identity"] == mated["identity"])).all()
    strangers = table[table["mated"] == 0]
    assert strangers[["rank", "right_similarity"]].isna().all(axis=None)
    assert set(strangers["identity"]) == {f"p{person:02}" for person in range(PEOPLE, PEOPLE + STRANGERS)}
    searched = np.concatenate([run.found.best for run in found.runs]).astype(np.float32)
    assert table["similarity"].astype(np.float32).tolist() == searched.tolist()


@pytest.mark.parametrize("block", [1, 512, 1 << 15])
def test_a_pair_head_is_given_blocks_of_bounded_size(
    people: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    verifier = Verifier("net", network("difference"), None, device="cpu")
    whole, width = identify(verifier, people, runs=1), verifier.network.embedding_dim
    rows: list[int] = []
    similarity = Verifier.similarity

    def spy(self: Verifier, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        rows.append(len(left))
        return similarity(self, left, right)

    monkeypatch.setattr(Verifier, "similarity", spy)
    monkeypatch.setattr(gallery_protocol, "_BLOCK", block)
    found = identify(verifier, people, runs=1)
    assert max(rows) <= max(block // width, PEOPLE)
    assert sum(rows) == PEOPLE * len(found.runs[0].probes)
    np.testing.assert_allclose(found.runs[0].found.best, whole.runs[0].found.best, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gallery_images": 0}, "--gallery-images 0: expected 1 or more"),
        ({"runs": 0}, "--runs 0: expected 1 or more"),
        ({"runs": 2, "gallery": Path("x")}, "--runs 2: nothing is drawn from a gallery that is given; leave it out"),
        (
            {"gallery_images": 1, "gallery": Path("x")},
            "--gallery-images 1: nothing is drawn from a gallery that is given; leave it out",
        ),
    ],
)
def test_options_out_of_place_are_refused_before_any_work(cosine: Verifier, options: dict, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        identify(cosine, Path("nowhere"), **options)
    assert str(caught.value) == message


def test_too_few_images_of_everybody(cosine: Verifier, people: Path) -> None:
    with pytest.raises(DataError) as caught:
        identify(cosine, people, gallery_images=4)
    assert str(caught.value) == (
        f"{people}: 17 identities, none with more than 4 images: a gallery needs one more for a probe; add images, "
        "or lower --gallery-images"
    )


def test_a_gallery_of_other_people_is_refused(cosine: Verifier, people: Path, tmp_path: Path) -> None:
    gallery, probes = split(people, tmp_path, lambda person: True)
    for folder in sorted(gallery.iterdir()):
        folder.rename(folder.with_name(f"other{folder.name}"))
    with pytest.raises(DataError) as caught:
        identify(cosine, probes, gallery=gallery)
    assert str(caught.value) == (
        f"{gallery}: has none of the 12 identities of {probes} among its 17; identities must bear the same names in "
        "both"
    )


def test_nothing_to_search_is_named(cosine: Verifier, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images below it; expected identity folders"):
        identify(cosine, tmp_path / "empty")
    (tmp_path / "faces" / "a").mkdir(parents=True)
    (tmp_path / "faces" / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"faces: none of 1 images can be embedded; first: .*1\.png"):
        identify(cosine, tmp_path / "faces")
    (tmp_path / "list.csv").write_text("path,person_name_nobody_knows\na.png,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"list\.csv"):
        identify(cosine, tmp_path / "list.csv")


@pytest.mark.filterwarnings("ignore:invalid value")
def test_embeddings_that_are_no_numbers_are_an_error(people: Path) -> None:
    broken = network(None)
    with torch.no_grad():
        next(broken.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="similarities hold values that are not finite"):
        identify(Verifier("net", broken, None, device="cpu"), people)


@pytest.mark.real_data
def test_forty_faces_are_told_apart_from_one_image_each(real_data: Path) -> None:
    name = f"mobilefacenet@{real_data / 'weights/mobilefacenet_casia_webface.ckpt'}"
    verifier = Verifier.load(name, device="cpu", align="no")
    found = identify(verifier, real_data / "data" / "orl", runs=4).measured
    assert (found.gallery, found.mated, found.non_mated) == (40, 360, 0)
    best = found.cmc["1"]
    assert best.interval is not None
    assert 0.93 < best.interval.low < best.value < best.interval.high < 1
    assert best.value <= found.cmc["5"].value <= found.cmc["10"].value
    more = identify(verifier, real_data / "data" / "orl", runs=4, gallery_images=5).measured
    assert more.cmc["1"].value > best.value
