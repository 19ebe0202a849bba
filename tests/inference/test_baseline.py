"""The untouched encoder that a model folder leads back to."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from siamese.encoders import create_encoder
from siamese.encoders.checksum import sha256_of
from siamese.encoders.timm_encoder import TimmEncoder, entry_of
from siamese.encoders.weights import cached_path, record_of_file
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.inference.baseline import BASELINE, load_baseline
from siamese.inference.evaluate import evaluate
from siamese.inference.model_comparison import compare_models
from siamese.inference.scoring import score_pairs
from siamese.inference.verifier import Verifier
from siamese.model.card import CARD, ModelCard, TrainingCard, ValidationFigures
from siamese.model.folder import describe_encoder, save_model
from siamese.model.network import SiameseNetwork
from siamese.pairing.formats import read_pairs
from siamese_cli.main import run

ARCHITECTURE = "timm/test_resnet"
PEOPLE, PHOTOS = 20, 4


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People as patterns that a random network tells apart, not always."""
    root, random = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    for person in range(PEOPLE):
        pattern = np.kron(random.uniform(0, 255, (4, 4, 3)), np.ones((8, 8, 1)))
        (root / f"p{person}").mkdir()
        for photo in range(PHOTOS):
            pixels = np.clip(pattern + random.normal(0, 60, pattern.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"p{person}" / f"{photo}.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "own weights.safetensors"
    save_file(create_encoder(f"{ARCHITECTURE}@random").network.state_dict(), path)
    return path


def train(faces: Path, encoder: str, folder: Path) -> Path:
    options = ["--input-size", "32", "--epochs", "1", "--num-pairs", "40", "--head", "mlp", "-o", str(folder)]
    assert run(["train", str(faces), "--encoder", encoder, *options, "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(faces: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as training writes it: another encoder and a head, and the run with its validation pairs."""
    folder = tmp_path_factory.mktemp("runs") / "model"
    torch.manual_seed(4)
    encoder = create_encoder(f"{ARCHITECTURE}@random", input_size=(32, 32))
    encoder.weights = record_of_file(ARCHITECTURE, weights)
    network = SiameseNetwork(encoder, "mlp", 16)
    names = [(person, f"p{person}/{photo}.png") for person in range(6) for photo in range(PHOTOS)]
    rows = [(a, b, int(one == other)) for one, a in names for other, b in names if a < b]
    (folder / "run").mkdir(parents=True)
    frame = pd.DataFrame(rows, columns=["left", "right", "same"])
    frame.to_csv(folder / "run" / "val.csv", index=False)
    (folder / "run" / "root.txt").write_text(f"{faces}\n")
    (folder / "run" / "provenance.json").write_text(json.dumps({"format": 1, "start": {"directory": "/nowhere"}}))
    scored = score_pairs(Verifier("new", network, None, device="cpu"), frame, faces, "val.csv")
    figures = ValidationFigures(auc=0.9, accuracy=0.8, eer=0.1)
    card = ModelCard(
        encoder=describe_encoder(network),
        head="mlp",
        embedding_dim=16,
        operating_points=fit_operating_points(scored.scores, frame["same"].to_numpy(dtype=bool), "validation"),
        training=TrainingCard(
            config={"encoder": f"{ARCHITECTURE}@{weights}"},
            baseline=figures,
            best=figures,
            best_epoch=2,
            images=len(names),
            tuples=len(rows),
            versions={},
        ),
    )
    save_model(folder, network, card)
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "model"))


def edit_card(folder: Path, **record: object) -> None:
    """Change what the card says of the encoder's weights, or (`encoder`) of how training was given them."""
    card = json.loads((folder / CARD).read_text())
    given = record.pop("given", None)
    if given is not None:
        card["training"]["config"]["encoder"] = given
    if record:
        card["encoder"]["weights"] |= record
    (folder / CARD).write_text(json.dumps(card))


def reason(folder: Path) -> str:
    found = load_baseline(Verifier.load(folder, device="cpu"))
    assert isinstance(found, str)
    assert "\n" not in found
    return found


def loaded(folder: Path, *, fit: bool = False) -> Verifier:
    found = load_baseline(Verifier.load(folder, device="cpu"), fit=fit)
    assert isinstance(found, Verifier), found
    return found


def test_the_baseline_scores_as_the_untouched_encoder_given_by_name(
    trained: Path, faces: Path, weights: Path
) -> None:
    name = f"{ARCHITECTURE}@{weights}"
    untouched = Verifier.load(name, device="cpu", input_size=(32, 32))
    baseline = loaded(trained)
    assert baseline.name == name
    assert baseline.network.input_spec == untouched.network.input_spec
    images = sorted(faces.rglob("*.png"))[:9]
    np.testing.assert_array_equal(baseline.embed(images).vectors, untouched.embed(images).vectors)


def test_everything_else_is_as_in_the_model(trained: Path) -> None:
    model = Verifier.load(trained, device="cpu", align="no", face="largest", flip=True)
    baseline = load_baseline(model, fit=False)
    assert isinstance(baseline, Verifier)
    assert (baseline.device, baseline.align, baseline.face, baseline.flip) == ("cpu", "no", "largest", True)


def test_thresholds_are_fitted_on_the_validation_pairs_of_the_run(trained: Path, faces: Path) -> None:
    baseline = loaded(trained, fit=True)
    pairs = trained / "run" / "val.csv"
    plain = loaded(trained)
    assert (plain.card, plain.operating_points, plain.calibration) == (None, (), None)
    scored = score_pairs(plain, read_pairs(pairs), faces, "val.csv")
    same = scored.frame["same"].to_numpy(dtype=bool)
    assert baseline.operating_points == fit_operating_points(scored.scores, same, "validation")
    assert baseline.calibration is not None and baseline.calibration.split == "validation"


def test_without_validation_pairs_or_their_images_the_baseline_has_no_threshold(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (copied / "run" / "root.txt").write_text("/nowhere/at all\n")
    assert loaded(copied, fit=True).operating_points == ()
    assert "baseline: no threshold from the validation pairs of the run: " in caplog.text
    shutil.rmtree(copied / "run")
    assert loaded(copied, fit=True).operating_points == ()


def test_the_model_is_compared_with_its_baseline_on_the_same_pairs(trained: Path, faces: Path) -> None:
    pairs = trained / "run" / "val.csv"
    model, baseline = Verifier.load(trained, device="cpu"), loaded(trained, fit=True)
    both = [(BASELINE, evaluate(baseline, pairs, root=faces)), ("model", evaluate(model, pairs, root=faces))]
    (found,) = compare_models(both)
    assert (found.first, found.second) == ("untouched encoder (baseline)", "model")
    assert found.statistics["auc"].difference == both[1][1].measurement.auc - both[0][1].measurement.auc
    assert both[0][1].measurement.threshold_from == both[1][1].measurement.threshold_from


def test_published_weights_are_taken_from_the_cache_and_never_downloaded(
    copied: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("a download"))
    encoder = create_encoder(f"{ARCHITECTURE}@random")
    assert isinstance(encoder, TimmEncoder)
    entry = entry_of(encoder, "r160_in1k")
    edit_card(copied, tag="r160_in1k", source=entry.url)
    path = cached_path(entry)
    assert reason(copied) == (
        f"weights 'r160_in1k' of timm/test_resnet: not in the cache, and a baseline downloads nothing; "
        f"put {entry.url} at {path}"
    )
    path.parent.mkdir(parents=True)
    shutil.copy(weights, path)
    assert loaded(copied).name == "timm/test_resnet@r160_in1k"
    edit_card(copied, sha256="0" * 64)
    assert reason(copied) == (
        f"weights {path}: changed since {copied} was trained from them (SHA-256 {sha256_of(path)[:12]}..., "
        "expected 000000000000...)"
    )
    edit_card(copied, tag="of-long-ago")
    assert reason(copied) == ("weights 'of-long-ago' of timm/test_resnet: this version of siamese does not know them")


def test_a_file_that_is_gone_or_another_now_is_said_so(copied: Path, weights: Path, tmp_path: Path) -> None:
    digest = sha256_of(weights)
    edit_card(copied, given=f"{ARCHITECTURE}@{tmp_path / 'gone.safetensors'}")
    assert reason(copied) == (
        f"weights {tmp_path / 'gone.safetensors'}: no such file; {copied} was trained from them, put them there "
        f"(SHA-256 {digest[:12]}...)"
    )
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights.read_bytes() + b" ")
    edit_card(copied, given=f"{ARCHITECTURE}@{other}")
    assert reason(copied).startswith(f"weights {other}: changed since {copied} was trained from them (SHA-256 ")
    edit_card(copied, given=ARCHITECTURE)
    assert reason(copied) == (
        f"weights own weights.safetensors: the model folder {copied} does not say where they lay"
    )


def test_a_relative_path_meant_the_folder_that_training_was_started_in(
    copied: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    edit_card(copied, given=f"{ARCHITECTURE}@./{weights.name}")
    monkeypatch.chdir(tmp_path)
    assert reason(copied).startswith(f"weights {weights.name}: no such file")
    provenance = copied / "run" / "provenance.json"
    record = json.loads(provenance.read_text())
    record["start"]["directory"] = str(weights.parent)
    provenance.write_text(json.dumps(record))
    assert loaded(copied).name == f"{ARCHITECTURE}@{weights}"
    provenance.write_text("[]")
    assert reason(copied).startswith(f"weights {weights.name}: no such file")


def test_runs_that_left_nothing_to_compare_with_say_why(faces: Path, weights: Path, tmp_path: Path) -> None:
    folder = train(faces, f"{ARCHITECTURE}@random", tmp_path / "random")
    assert reason(folder) == f"the encoder of {folder} started from random weights, and those are not kept"
    # Patterns that the encoder tells apart without a mistake: of equal evaluations the first, the baseline, is kept.
    folder = train(faces, f"{ARCHITECTURE}@{weights}", tmp_path / "model")
    assert reason(folder) == f"no epoch was better than the untouched encoder, so that {folder} is that encoder"
    untouched = Verifier.load(f"{ARCHITECTURE}@random", device="cpu")
    assert load_baseline(untouched) == "timm/test_resnet@random is an untouched encoder itself"


@pytest.mark.real_data
def test_a_run_on_real_faces_leads_back_to_its_real_weights(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "weights" / "mobilefacenet_casia_webface.ckpt"
    orl = real_data / "data" / "orl"
    options = ["--epochs", "1", "--num-pairs", "20", "--encoder", f"mobilefacenet@{file}", "--align", "no"]
    folder = tmp_path / "model"
    assert run(["train", str(orl), *options, "-o", str(folder), "--quiet"]) == 0
    card = json.loads((folder / CARD).read_text())
    card["training"]["best_epoch"] = 1  # whichever was better: the question is where the weights lay
    (folder / CARD).write_text(json.dumps(card))
    found = load_baseline(Verifier.load(folder, device="cpu", align="no"), fit=False)
    assert isinstance(found, Verifier), found
    assert found.name == f"mobilefacenet@{file}"
    untouched = Verifier.load(f"mobilefacenet@{file}", device="cpu", align="no")
    images = [orl / "s1" / "1.pgm", orl / "s2" / "1.pgm"]
    np.testing.assert_array_equal(found.embed(images).vectors, untouched.embed(images).vectors)
