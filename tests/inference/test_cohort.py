"""Scores measured against a cohort, through `evaluate`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.encoders import create_encoder
from siamese.errors import DataError, OptionError
from siamese.inference.cohort import Cohort, embed_cohort
from siamese.inference.evaluate import evaluate
from siamese.inference.protocol import Protocol
from siamese.inference.scoring import score_pairs
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork

PEOPLE, PHOTOS = 5, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `faces` and `others` with people of their own, but for one of `others` who is in both."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for person in range(2 * PEOPLE):
        pattern = np.kron(random.uniform(0, 255, (4, 4, 3)), np.ones((8, 8, 1)))
        for photo in range(PHOTOS):
            pixels = np.clip(pattern + random.normal(0, 20, pattern.shape), 0, 255).astype(np.uint8)
            for part in (
                ("faces",) if person < PEOPLE - 1 else ("others",) if person >= PEOPLE else ("faces", "others")
            ):
                (root / part / f"p{person}").mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / part / f"p{person}" / f"{photo}.png")
    return root


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(32, 32)))
    return Verifier("net", network, None, device="cpu")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    names = [(person, f"p{person}/{photo}.png") for person in range(PEOPLE) for photo in range(PHOTOS)]
    rows = [(a, b, one == other) for one, a in names for other, b in names if a < b]
    frame = pd.DataFrame(rows, columns=["left", "right", "same"])
    return frame.assign(left_identity=frame["left"].str[:2], right_identity=frame["right"].str[:2])


def by_hand(
    verifier: Verifier, folder: Path, table: pd.DataFrame, method: str, top: int | None, known: bool
) -> np.ndarray:
    """Each image's cosines with the cohort, one after the other."""
    others = sorted((folder / "others").rglob("*.png"))
    cohort = verifier.embed(others).vectors.astype(float)
    owners = [path.parent.name for path in others]
    scores = []
    for left, right in zip(table["left"], table["right"], strict=True):
        a, b = verifier.embed([folder / "faces" / left, folder / "faces" / right]).vectors.astype(float)
        found = []
        for side, vector, name in (("z", a, left), ("t", b, right)):
            if method not in (side, "s"):
                continue
            cosines = [
                row @ vector
                for row, owner in zip(cohort, owners, strict=True)
                if not (known and owner == name.split("/")[0])
            ]
            cosines = sorted(cosines, reverse=True)[:top]
            found.append((a @ b - np.mean(cosines)) / np.std(cosines))
        scores.append(np.mean(found))
    return np.array(scores)


@pytest.mark.parametrize("method", ["z", "t", "s"])
@pytest.mark.parametrize("top", [None, 6])
@pytest.mark.parametrize("known", [True, False])
def test_normalised_scores_are_those_counted_by_hand(
    verifier: Verifier, folder: Path, table: pd.DataFrame, method: str, top: int | None, known: bool
) -> None:
    pairs = table if known else table[["left", "right", "same"]]
    cohort = embed_cohort(verifier, Cohort(folder / "others", method, top))  # type: ignore[arg-type]
    found = cohort.normalise(score_pairs(verifier, pairs, folder / "faces", "pairs"))
    np.testing.assert_allclose(found.scores, by_hand(verifier, folder, table, method, top, known), atol=2e-3)


def test_pairs_without_a_score_stay_without_one(verifier: Verifier, folder: Path, table: pd.DataFrame) -> None:
    (folder / "faces" / "p0" / "broken.png").write_bytes(b"no image")
    pairs = pd.concat([table, pd.DataFrame({"left": ["p0/broken.png"], "right": ["p1/0.png"], "same": [False]})])
    cohort = embed_cohort(verifier, Cohort(folder / "others"))
    plain = score_pairs(verifier, pairs.reset_index(drop=True), folder / "faces", "pairs")
    found = cohort.normalise(plain)
    assert np.isfinite(found.scores).tolist() == [True] * len(table) + [False]


def test_an_evaluation_against_a_cohort_fits_its_own_threshold_and_says_what_it_was(
    verifier: Verifier, folder: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "pairs.csv", index=False)
    cohort = Cohort(folder / "others", "t", 5)
    found = evaluate(verifier, tmp_path / "pairs.csv", root=folder / "faces", cohort=cohort)
    expected = by_hand(verifier, folder, table, "t", 5, True)
    np.testing.assert_allclose(found.similarities, expected, atol=2e-3)
    images = PHOTOS * (PEOPLE + 1)
    described = {"data": str(folder / "others"), "images": images, "method": "t", "top": 5}
    assert found.as_json()["preprocessing"]["cohort"] == described
    assert found.measurement.threshold_from == "the other fold"
    with pytest.raises(OptionError, match=r"^--at: nothing here has operating points; fit some with --val-pairs"):
        asked = Protocol(at="eer")
        evaluate(verifier, tmp_path / "pairs.csv", root=folder / "faces", cohort=cohort, protocol=asked)
    asked = Protocol(at="eer", val_pairs=tmp_path / "pairs.csv")
    fitted = evaluate(verifier, tmp_path / "pairs.csv", root=folder / "faces", cohort=cohort, protocol=asked)
    assert fitted.measurement.threshold_from == f"{tmp_path / 'pairs.csv'} (eer)"
    assert fitted.fitted_here == len(table)
    np.testing.assert_array_equal(fitted.fit.scores, fitted.similarities)  # type: ignore[union-attr]


def test_a_pair_head_and_a_cohort_do_not_go_together(folder: Path) -> None:
    encoder = create_encoder("timm/test_resnet@random", input_size=(32, 32))
    verifier = Verifier("net", SiameseNetwork(encoder, pair_head="product"), None, device="cpu")
    with pytest.raises(OptionError, match=r"^--cohort: net compares by a pair head, and a cohort is measured by cos"):
        embed_cohort(verifier, Cohort(folder / "others"))


def test_a_cohort_needs_images(verifier: Verifier, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    (tmp_path / "two.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 2 images could be embedded; a cohort needs two$"):
        embed_cohort(verifier, Cohort(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "x"}, "unknown --normalise 'x'"),
        ({"top": 1}, "--cohort-top 1: a deviation needs two at least"),
    ],
)
def test_options_of_a_cohort_are_checked_before_anything_is_embedded(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        Cohort(Path("nowhere"), **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
