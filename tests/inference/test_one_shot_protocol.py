from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.encoders import create_encoder
from siamese.errors import DataError, OptionError
from siamese.inference.known_images import drawers_of, groups_of, known_images
from siamese.inference.one_shot_protocol import one_shot, write_trials
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork

ALPHABETS, CHARACTERS, DRAWERS = 3, 6, 4


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Omniglot: alphabet/character/NNNN_DD.png, everything drawn once by everybody of the alphabet."""
    folder, rng = tmp_path_factory.mktemp("characters"), np.random.default_rng(0)
    for number in range(ALPHABETS * CHARACTERS):
        alphabet, character = divmod(number, CHARACTERS)
        place = folder / f"Alphabet {alphabet}" / f"character{character + 1:02}"
        place.mkdir(parents=True)
        strokes = np.kron(rng.uniform(0, 255, (4, 4)), np.ones((8, 8)))
        for drawer in range(1, DRAWERS + 1):
            pixels = np.clip(0.3 * strokes + rng.normal(90, 60, strokes.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{number + 1:04}_{drawer:02}.png")
    return folder


@pytest.fixture(scope="module", params=[None, "difference+product"])
def verifier(request: pytest.FixtureRequest) -> Verifier:
    torch.manual_seed(0)
    encoder = create_encoder("timm/test_resnet@random", input_size=(32, 32))
    return Verifier("net", SiameseNetwork(encoder, pair_head=request.param), None, device="cpu")


@pytest.fixture(scope="module")
def cosine() -> Verifier:
    torch.manual_seed(0)
    encoder = create_encoder("timm/test_resnet@random", input_size=(32, 32))
    return Verifier("net", SiameseNetwork(encoder), None, device="cpu")


def test_trials_give_what_loops_over_pairs_give(verifier: Verifier, characters: Path, tmp_path: Path) -> None:
    found = one_shot(verifier, characters, ways=5, runs=3, seed=2, identity_depth=2)
    assert (found.result.trials, found.result.ways, found.grouped_by) == (ALPHABETS * 3 * 5, 5, "folders")
    assert found.drawers_from == "file names"
    paths = found.table["path"]
    vectors = verifier.embed([characters / path for path in paths]).vectors
    credit, trials = [], found.trials
    for test, support, answer in zip(trials.test, trials.support, trials.answer, strict=True):
        scores = verifier.similarity(np.tile(vectors[test], (5, 1)), vectors[support])
        best = np.flatnonzero(scores == scores.max())
        credit.append(1 / len(best) if answer in best else 0)
        parts = [Path(paths[row]) for row in (test, *support)]
        assert len({part.parts[0] for part in parts}) == 1, "all of one alphabet"
        drawers = [part.stem.split("_")[1] for part in parts]
        assert len(set(drawers[1:])) == 1
        assert drawers[0] != drawers[1]
        assert parts[1 + answer].parent == parts[0].parent
    assert found.result.accuracy == pytest.approx(np.mean(credit))
    assert 0.2 < found.result.accuracy < 1
    by_group = {name: np.mean(np.array(credit)[trials.group == n]) for n, name in enumerate(trials.groups)}
    assert found.by_group == pytest.approx(by_group)
    assert list(found.by_group.values()) == sorted(by_group.values())
    write_trials(found, tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv")
    assert table["credit"].tolist() == pytest.approx(credit)
    assert (table["path"].str.rsplit("/", n=1).str[0] == table["right"].str.rsplit("/", n=1).str[0]).all()
    assert ((table["best"] == table["right"]) == (table["credit"] == 1)).all()
    assert table.groupby("run")["credit"].mean().tolist() == pytest.approx(found.result.by_run.tolist())
    assert set(table["group"]) == {f"Alphabet {n}" for n in range(ALPHABETS)}


def test_only_images_of_trials_are_embedded_and_each_once(
    cosine: Verifier, characters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    embed = Verifier.embed

    def spy(self: Verifier, sources: list[Path], **options: object) -> object:
        seen.extend(map(str, sources))
        return embed(self, sources, **options)

    monkeypatch.setattr(Verifier, "embed", spy)
    found = one_shot(cosine, characters, ways=3, runs=2, identity_depth=2)
    needed = np.union1d(found.trials.test, found.trials.support.ravel())
    assert len(seen) == len(set(seen)) == found.embedded == len(needed) < found.images
    assert (found.images, found.identities) == (ALPHABETS * CHARACTERS * DRAWERS, ALPHABETS * CHARACTERS)


def test_a_seed_repeats_its_trials(cosine: Verifier, characters: Path) -> None:
    options = {"ways": 4, "identity_depth": 2}
    first, again, other = (one_shot(cosine, characters, seed=seed, **options) for seed in (5, 5, 6))
    assert first.as_json() == again.as_json()
    assert first.trials.test.tolist() != other.trials.test.tolist()


def manifest(characters: Path, file: Path, rows: list[str], header: str) -> Path:
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_a_manifest_names_groups_and_drawers(cosine: Verifier, characters: Path, tmp_path: Path) -> None:
    rows = [
        f"{image},{image.parent.parent.name}/{image.parent.name},{image.parent.parent.name},{image.stem[-2:]}"
        for image in sorted(characters.glob("*/*/*.png"))
    ]
    listing = manifest(characters, tmp_path / "list.csv", rows, "path,identity,alphabet,drawer")
    found = one_shot(cosine, listing, ways=5)
    assert (found.grouped_by, found.drawers_from) == ("alphabet", "drawer")
    folders = one_shot(cosine, characters, ways=5, identity_depth=2)
    assert found.by_group == folders.by_group
    assert found.result.credit.tolist() == folders.result.credit.tolist()


def test_without_groups_all_images_are_one(cosine: Verifier, characters: Path, tmp_path: Path) -> None:
    rows = [
        f"{image},{image.parent.parent.name}/{image.parent.name}" for image in sorted(characters.glob("*/*/*.png"))
    ]
    found = one_shot(cosine, manifest(characters, tmp_path / "list.csv", rows, "path,identity"), ways=15, runs=1)
    assert (found.grouped_by, found.by_group, found.as_json()["by_group"]) == (None, {}, [])
    assert (found.deviation, found.accuracy.interval) == (None, None)
    assert found.accuracy.reason == "insufficient data: an interval needs 10 groups, found 1"


@pytest.mark.parametrize(
    ("paths", "identities", "drawers"),
    [
        (["A/a/0001_01.png", "A/a/0001_02.png", "A/b/0002_01.png"], "aab", ["01", "02", "01"]),
        # Not all named so; numbered images of people, where the first number changes within an identity; numbers that
        # several identities share.
        (["A/a/0001_01.png", "A/a/photo.png", "A/b/0002_01.png"], "aab", None),
        (["a/0001_01.png", "a/0002_01.png", "b/0003_01.png"], "aab", None),
        (["a/0001_01.png", "a/0001_02.png", "b/0001_01.png"], "aab", None),
        (["a/Al_Gore_0001.jpg", "a/Al_Gore_0002.jpg", "b/Al_Pacino_0001.jpg"], "aab", None),
    ],
)
def test_drawers_are_read_from_names_as_omniglot_has_them(
    paths: list[str], identities: str, drawers: list[str] | None
) -> None:
    found, source = drawers_of(pd.DataFrame({"path": paths, "identity": list(identities)}))
    assert source == (None if drawers is None else "file names")
    assert (None if found is None else found.tolist()) == drawers


def test_a_column_of_groups_goes_before_folders() -> None:
    table = pd.DataFrame({"path": ["x"], "identity": ["Greek/alpha"], "alphabet": ["old"], "group": ["new"]})
    assert [groups_of(table, depth)[1] for depth in (1, 2)] == ["group", "group"]
    names, source = groups_of(table.drop(columns=["alphabet", "group"]), 2)
    assert names is not None
    assert (names.tolist(), source) == (["Greek"], "folders")
    assert groups_of(table[["path", "identity"]], 1) == (None, None)


def test_trials_are_drawn_again_without_images_that_fail(
    cosine: Verifier, characters: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for image in characters.glob("*/*/*.png"):
        target = tmp_path / image.relative_to(characters)
        target.parent.mkdir(parents=True, exist_ok=True)
        bad = image.stem.endswith("_03") or image.name == "0002_01.png"
        target.write_bytes(b"no image" if bad else image.read_bytes())
    found = one_shot(cosine, tmp_path, ways=5, runs=6, identity_depth=2)
    used = found.table["path"].iloc[np.union1d(found.trials.test, found.trials.support.ravel())]
    assert not used.str.contains("_03|0002_01").any()
    assert found.failed > 0
    assert found.result.trials == ALPHABETS * 6 * 5
    assert f"{found.failed} of {found.embedded} images could not be embedded and are left out; first: " in caplog.text


def test_nothing_that_can_be_embedded_is_an_error(cosine: Verifier, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r": none of 4 images can be embedded; first: a/\d\.png \("):
        one_shot(cosine, tmp_path, ways=2)


def test_too_few_characters_in_an_alphabet_are_named(cosine: Verifier, characters: Path) -> None:
    with pytest.raises(DataError) as caught:
        one_shot(cosine, characters, identity_depth=2)
    assert str(caught.value) == (
        f"{characters}: one-shot trials: group 'Alphabet 0': 6 identities, expected at least 20 for 20-way trials; "
        "ask for fewer ways or leave it out"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"ways": 1}, "--ways 1: expected 2 or more"), ({"runs": 0}, "--runs 0: expected 1 or more")],
)
def test_options_out_of_range_are_refused(cosine: Verifier, options: dict, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        one_shot(cosine, Path("nowhere"), **options)
    assert str(caught.value) == message


def test_images_of_identities_are_listed_with_their_files(characters: Path) -> None:
    table = known_images(characters, identity_depth=2)
    assert table["path"].is_monotonic_increasing
    assert all(Path(file).is_file() for file in table["file"])
    assert table["identity"].nunique() == ALPHABETS * CHARACTERS
    with pytest.raises(DataError, match="no such folder or manifest"):
        known_images(characters / "nowhere")
