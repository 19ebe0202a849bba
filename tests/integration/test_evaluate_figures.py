"""Every figure of `siamese evaluate`, against scikit-learn and the definitions, from the scores that it wrote."""

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from siamese.demo.folder import write_identities
from siamese.images import decode
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork

from .conftest import Siamese
from .independent_figures import (
    People,
    accuracy_threshold,
    calibration_figures,
    diagnostics,
    differences,
    figures,
    intervals,
    thresholds_of_other_folds,
)
from .test_real_data import encoder

ENCODER = "timm/test_resnet@random"
FOLDS, PEOPLE_A_FOLD, IMAGES_A_PERSON, RENDERED_A_FOLD = 10, 7, 4, 13
# What is said about a run, and no figure of it.
FACTS = {"pairs", "failed", "images", "threshold_from", "fitted_here", "preprocessing", "model", "device", "seconds"}


@dataclass
class Work:
    """The files that a command decoded, and the embeddings that came out of the network, batch by batch."""

    decoded: Counter[str] = field(default_factory=Counter)
    embedded: list[NDArray[np.float32]] = field(default_factory=list)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    done = Work()
    read_file, forward = decode.read_file, SiameseNetwork.forward

    def counted_read(path: Path) -> bytes:
        done.decoded[str(path)] += 1  # the files of a batch are read by threads, each file by one of them
        return read_file(path)

    def counted_forward(self: SiameseNetwork, images: Tensor) -> Tensor:
        embeddings = forward(self, images)
        done.embedded.append(embeddings.numpy())
        return embeddings

    monkeypatch.setattr(decode, "read_file", counted_read)
    monkeypatch.setattr(SiameseNetwork, "forward", counted_forward)
    return done


@dataclass(frozen=True)
class Run:
    """What an evaluation printed, the images that pairs name in their order, and the pairs that have a score."""

    result: dict[str, Any]
    images: list[str]
    table: pd.DataFrame

    @property
    def scores(self) -> NDArray[np.float64]:
        """As they were decided on: nine digits stand for one float32."""
        return self.table["similarity"].to_numpy().astype(np.float32).astype(np.float64)

    @property
    def same(self) -> NDArray[np.bool_]:
        return self.table["same"].to_numpy(dtype=bool)


def evaluated(siamese: Siamese, folder: Path, *arguments: object) -> Run:
    outcome = siamese("evaluate", *arguments, "-o", folder, "--no-report", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == outcome.json
    table = pd.read_csv(folder / "scores.csv")
    images = pd.unique(table[["left", "right"]].to_numpy().ravel())
    return Run(outcome.json, list(images), table[table["status"] == "scored"])


def check_figures(
    run: Run, thresholds: NDArray[np.float64], work: Work, folds: NDArray[np.int64] | None = None
) -> None:
    """Every key of the result is a fact, or equals what is computed here to 1e-9."""
    scores, same = run.scores, run.same
    accepted = run.table["accepted"].to_numpy(dtype=bool)
    assert (accepted == (scores >= thresholds)).all()
    people = {side: run.table[side].str.split("/").str[0].to_numpy(dtype=str) for side in ("left", "right")}
    expected = figures(scores, same, thresholds, folds)
    expected["intervals"] = intervals(scores, same, accepted, People(**people))
    expected["diagnostics"] = diagnostics(scores, same, *embeddings_of(run, work))
    assert set(run.result) == FACTS | set(expected) | {"calibration"}, "a figure that nobody checks"
    assert not differences({name: run.result[name] for name in expected}, expected, "evaluate")


def embeddings_of(run: Run, work: Work) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Embeddings and people of the images that a pair with a score shows."""
    read = {"/".join(Path(path).parts[-2:]) for path in work.decoded}
    decoded = [name for name in run.images if name in read]
    vectors = np.concatenate(work.embedded)[: len(decoded)]  # those of --val-pairs come after
    shown = np.isin(decoded, run.table[["left", "right"]].to_numpy().ravel())
    return vectors[shown], pd.Series(decoded)[shown].str.split("/").str[0].to_numpy()


def lfw_form(people: list[list[list[str]]]) -> pd.DataFrame:
    """Pairs of all images of a person, and as many of different people of the same fold; images are in many pairs."""
    rng, rows = np.random.default_rng(0), []
    for number, fold in enumerate(people):
        for images in fold:
            rows += [(number, a, b, 1) for k, a in enumerate(images) for b in images[k + 1 :]]
        every = [(who, image) for who, images in enumerate(fold) for image in images]
        others = [(a[1], b[1]) for k, a in enumerate(every) for b in every[k + 1 :] if a[0] != b[0]]
        genuine = sum(row[0] == number for row in rows)
        rows += [(number, *others[k], 0) for k in rng.permutation(len(others))[:genuine]]
    return pd.DataFrame(rows, columns=["fold", "left", "right", "same"])


@pytest.fixture(scope="session")
def real_faces(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligned crops of 70 people as JPEGs."""
    archive = real_data / "data/faces-train.zip"
    if not archive.is_file():
        pytest.skip(f"no aligned faces: {archive} is not there")
    folder = tmp_path_factory.mktemp("real faces")
    with zipfile.ZipFile(archive) as faces:
        members = pd.Series([name for name in faces.namelist() if name.startswith("faces-train/pins/")])
        people = members.str.split("/").str[2]
        chosen = members.groupby(people).head(IMAGES_A_PERSON).groupby(people)
        for person, names in list(chosen)[: FOLDS * PEOPLE_A_FOLD]:
            (folder / person).mkdir()
            for number, name in enumerate(names, 1):
                with faces.open(name) as file:
                    Image.open(file).save(folder / person / f"{person}_{number:04d}.jpg", quality=95)
    return folder


def write_folds(root: Path, path: Path, people_a_fold: int) -> pd.DataFrame:
    people = [[f"{who.name}/{image.name}" for image in sorted(who.iterdir())] for who in sorted(root.iterdir())]
    table = lfw_form([people[k : k + people_a_fold] for k in range(0, FOLDS * people_a_fold, people_a_fold)])
    table.to_csv(path, index=False)
    return table


def with_lfw_thresholds(run: Run, work: Work) -> None:
    folds = run.table["fold"].to_numpy()
    check_figures(run, thresholds_of_other_folds(run.scores, run.same, folds), work, folds)
    assert run.result["threshold_from"] == "the other 9 folds"


@pytest.mark.real_data
def test_figures_of_the_lfw_protocol_on_real_faces(
    siamese: Siamese, real_data: Path, real_faces: Path, tmp_path: Path, work: Work
) -> None:
    table = write_folds(real_faces, tmp_path / "pairs.csv", PEOPLE_A_FOLD)
    options = ("--pairs", tmp_path / "pairs.csv", "--root", real_faces, "--protocol", "lfw")
    run = evaluated(siamese, tmp_path / "out", encoder(real_data), *options)
    assert run.result["auc"] > 0.95, "real faces and real weights"
    with_lfw_thresholds(run, work)
    assert run.result["tar_at_far"]["0.01"] is not None and run.result["tar_at_far"]["0.001"] is None
    assert run.result["intervals"]["auc"] is not None and run.result["intervals"]["tar_at_far=0.01"] is None
    assert run.result["images"] == len(run.images) == FOLDS * PEOPLE_A_FOLD * IMAGES_A_PERSON
    assert table["left"].value_counts().max() > 3, "an image is in many pairs"
    check_once(work, {str(real_faces / image) for image in run.images})


def check_once(work: Work, images: set[str]) -> None:
    assert set(work.decoded) == images
    assert work.decoded.total() == len(images), "an image was decoded twice"
    assert sum(map(len, work.embedded)) == len(images), "an image was embedded twice"


@pytest.mark.slow
@pytest.mark.real_data
def test_figures_of_lfw_with_every_image_decoded_and_embedded_once(
    siamese: Siamese, lfw_crops: Path, real_data: Path, tmp_path: Path, work: Work
) -> None:
    options = ("--pairs", real_data / "data/lfw-protocol/pairs.txt", "--root", lfw_crops, "--protocol", "lfw")
    run = evaluated(siamese, tmp_path / "out", encoder(real_data), *options)
    assert run.result["pairs"] == 6000 and run.result["failed"] <= 5
    assert run.result["images"] == len(run.images) == 7701
    # What showed no face when the crops were made has no crop.
    crops = [path for path in (lfw_crops / image for image in run.images) if path.is_file()]
    assert len(crops) >= 7696
    check_once(work, set(map(str, crops)))
    with_lfw_thresholds(run, work)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many people as every interval needs."""
    folder = tmp_path_factory.mktemp("rendered")
    write_identities(folder, identities=FOLDS * RENDERED_A_FOLD, images=3, seed=2, size=48)
    return folder


@pytest.mark.parametrize("steps", [6, 40, None])
def test_figures_with_ties_of_every_size(
    siamese: Siamese,
    model: Path,
    rendered: Path,
    tmp_path: Path,
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
    steps: int | None,
) -> None:
    if steps is not None:
        monkeypatch.setattr(Verifier, "similarity", in_steps(Verifier.similarity, steps))
    write_folds(rendered, tmp_path / "pairs.csv", RENDERED_A_FOLD)
    options = ("--pairs", tmp_path / "pairs.csv", "--root", rendered, "--protocol", "lfw", "--seed", 3)
    run = evaluated(siamese, tmp_path / "out", model, *options)
    distinct = len(np.unique(run.scores))
    assert distinct > 600 if steps is None else steps / 2 < distinct <= steps
    with_lfw_thresholds(run, work)
    assert run.result["intervals"]["auc"] is not None
    if steps is None:
        assert run.result["intervals"]["tar_at_far=0.1"] is not None


def in_steps(similarity: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """Similarities moved to the nearest one of a few, evenly between the lowest and the highest."""

    def coarse(*arguments: Any) -> Any:
        exact = similarity(*arguments)
        grid = np.linspace(exact.min(), exact.max(), steps, dtype=np.float32)
        return grid[np.abs(exact[:, None] - grid).argmin(axis=1)]

    return coarse


def test_figures_at_the_operating_point_of_a_model_with_its_calibration(
    siamese: Siamese, model: Path, rendered: Path, tmp_path: Path, work: Work
) -> None:
    table = write_folds(rendered, tmp_path / "pairs.csv", RENDERED_A_FOLD).drop(columns="fold")
    # Other numbers of the two kinds: the probabilities are judged at the prior of their fit all the same.
    table[(table["same"] == 1) | (np.arange(len(table)) % 3 > 0)].to_csv(tmp_path / "pairs.csv", index=False)
    run = evaluated(siamese, tmp_path / "out", model, "--pairs", tmp_path / "pairs.csv", "--root", rendered)
    card = json.loads((model / "model.json").read_text(encoding="utf-8"))
    (point,) = (each for each in card["operating_points"] if each["name"] == "accuracy")
    check_figures(run, np.full(len(run.table), point["threshold"]), work)
    assert run.result["genuine"] > run.result["impostor"]
    probabilities = by_card(card["calibration"], run.scores)
    np.testing.assert_allclose(run.table["probability"], probabilities, rtol=0, atol=1e-9)
    check_calibration(run, probabilities, card["calibration"]["calibrator"]["method"], card["calibration"]["prior"])


def by_card(calibration: dict[str, Any], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(same) by the formula of the method that the model card names."""
    fitted = calibration["calibrator"]
    if fitted["method"] == "isotonic":
        return np.interp(scores, fitted["scores"], fitted["probabilities"])
    line = fitted["platt"] if fitted["method"] == "beta" else fitted
    odds = line["slope"] * scores + line["intercept"]
    if fitted["method"] == "beta":
        u = 1 / (1 + np.exp(-odds))
        odds = fitted["below"] * np.log(u) - fitted["above"] * np.log(1 - u) + fitted["intercept"]
    return 1 / (1 + np.exp(-odds))


def check_calibration(run: Run, probabilities: NDArray[np.float64], method: str, prior: float) -> None:
    said = run.result["calibration"]
    assert (said["method"], said["prior"]) == (method, prior)
    own = calibration_figures(probabilities, run.same, prior)
    assert set(said) == {"method", "prior", "split", *own}, "a figure that nobody checks"
    assert not differences({name: said[name] for name in own}, own, "calibration")


def test_figures_with_threshold_and_calibration_of_other_pairs(
    siamese: Siamese, model: Path, rendered: Path, tmp_path: Path, work: Work
) -> None:
    table = write_folds(rendered, tmp_path / "all.csv", RENDERED_A_FOLD)
    for name, part in (("val", table["fold"] % 2 == 1), ("test", table["fold"] % 2 == 0)):
        table[part].drop(columns="fold").to_csv(tmp_path / f"{name}.csv", index=False)
    options = ("--pairs", tmp_path / "test.csv", "--root", rendered, "--val-pairs", tmp_path / "val.csv")
    run = evaluated(siamese, tmp_path / "out", model, *options)
    assert run.result["threshold_from"] == f"{tmp_path / 'val.csv'} (accuracy)"
    assert run.result["calibration"]["split"] == str(tmp_path / "val.csv")
    check_figures(run, np.full(len(run.table), run.result["threshold"]), work)
    assert run.result["intervals"]["far"] is not None and run.result["intervals"]["recall"] is None, "65 people"
    # Steps of isotonic regression may lie at the edge of a bin, and nine digits do not say on which side.
    method = run.result["calibration"]["method"]
    assert method in ("platt", "beta")
    check_calibration(run, run.table["probability"].to_numpy(), method, 0.5)


def test_figures_of_two_fold_cross_fitting(siamese: Siamese, rendered: Path, tmp_path: Path, work: Work) -> None:
    write_folds(rendered, tmp_path / "pairs.csv", RENDERED_A_FOLD).drop(columns="fold").to_csv(
        tmp_path / "pairs.csv", index=False
    )
    options = ("--pairs", tmp_path / "pairs.csv", "--root", rendered, "--input-size", 32)
    run = evaluated(siamese, tmp_path / "out", ENCODER, *options)
    halves = np.empty(len(run.table), np.int64)
    for kind in (run.same, ~run.same):
        halves[kind] = np.arange(kind.sum()) % 2
    own = {half: accuracy_threshold(run.scores[halves == half], run.same[halves == half]) for half in (0, 1)}
    check_figures(run, np.where(halves == 0, own[1], own[0]), work, halves)
    assert run.result["threshold_from"] == "the other fold"
