"""Transfer from the verifier that ships, and from any model folder: what the run starts from, and what it leaves."""

import shutil
from pathlib import Path

import pytest
import torch

from siamese import Verifier
from siamese.encoders import create_encoder
from siamese.model.card import ModelCard, TrainingCard, ValidationFigures, read_card
from siamese.model.folder import describe_encoder, save_model
from siamese.model.network import SiameseNetwork

from .conftest import Siamese

QUICK = ("--epochs", 1, "--align", "no", "--lr", 0.01, "--batch-size", 16)


@pytest.mark.parametrize("named", ["bundled", "a folder"])
def test_a_run_starts_at_its_scores_and_leaves_a_model_that_needs_it_no_more(
    named: str,
    siamese: Siamese,
    faces: Path,
    pairs: Path,
    two_images: tuple[Path, Path],
    bundled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = "bundled" if named == "bundled" else str(shutil.copytree(bundled, tmp_path / "start"))
    model, val = tmp_path / "model", pairs / "val.csv"
    given = ("--pairs", pairs / "train.csv", "--val-pairs", val)
    done = siamese("train", faces, "--encoder", start, *given, *QUICK, "-o", model, "--json")
    assert done.code == 0, done.err
    assert "head identity-start" in done.err
    untouched = siamese("evaluate", start, "--pairs", val, "--root", faces, "--align", "no", "--json").json
    assert done.json["baseline"]["auc"] == pytest.approx(untouched["auc"], abs=1e-6)
    card = read_card(model)
    assert (card.encoder.name, card.licence) == ("timm/regnetx_002+linear:256", "for tests")
    assert card.encoder.weights is not None
    assert card.encoder.weights.sha256 == read_card(bundled).sha256
    before = Verifier.load(model, device="cpu", align="no").compare(*two_images).similarity
    shutil.rmtree(tmp_path / "start", ignore_errors=True)
    monkeypatch.setattr("siamese.encoders.bundled._FOLDER", tmp_path / "gone")
    assert Verifier.load(model, device="cpu", align="no").compare(*two_images).similarity == before


@pytest.mark.parametrize("named", ["bundled", "a folder"])
def test_a_report_measures_the_model_against_what_it_started_from(
    named: str, siamese: Siamese, faces: Path, pairs: Path, bundled: Path, tmp_path: Path
) -> None:
    start = "bundled" if named == "bundled" else str(shutil.copytree(bundled, tmp_path / "start"))
    model = trained_from(start, tmp_path / "model")
    arguments = ("--pairs", pairs / "test.csv", "--root", faces, "--align", "no", "--json")
    found = siamese("evaluate", model, *arguments, "--baseline")
    assert found.code == 0, found.err
    alone = siamese("evaluate", start, *arguments).json
    assert found.json["baseline"]["auc"] == pytest.approx(alone["auc"], abs=1e-6)
    assert found.json["auc"] != pytest.approx(alone["auc"], abs=1e-6)


def test_a_start_that_has_changed_since_is_no_baseline(
    siamese: Siamese, faces: Path, pairs: Path, bundled: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(bundled, tmp_path / "start"))
    model = trained_from(str(start), tmp_path / "model")
    with (start / "model.safetensors").open("ab") as stream:
        stream.write(b" ")
    done = siamese("evaluate", model, "--pairs", pairs / "test.csv", "--root", faces, "--align", "no", "--baseline")
    assert done.code == 2
    assert f"weights {start / 'model.safetensors'}: changed since {model} was trained from them" in done.err


def trained_from(start: str, folder: Path) -> Path:
    """A model folder as a run leaves it whose first epoch was the best; its head is random."""
    network = SiameseNetwork(create_encoder(start), "identity-start").eval()
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    figures = ValidationFigures(auc=0.5, accuracy=0.5, eer=0.5)
    training = TrainingCard(
        config={"encoder": start},
        baseline=figures,
        best=figures,
        best_epoch=1,
        images=1,
        tuples=1,
        versions={},
    )
    card = ModelCard(
        encoder=describe_encoder(network),
        head="identity-start",
        embedding_dim=256,
        operating_points=(),
        training=training,
    )
    save_model(folder, network, card)
    return folder
