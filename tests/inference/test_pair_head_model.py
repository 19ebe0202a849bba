"""A model with a pair head, in every place where two images are compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.encoders import create_encoder
from siamese.errors import OptionError
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.inference.evaluate import evaluate
from siamese.inference.scoring import score_pairs
from siamese.inference.verifier import Verifier
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, describe_pair_head, save_model
from siamese.model.network import SiameseNetwork
from siamese.similarity import pair_similarity

IDENTITIES, PHOTOS = 6, 3


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of plain patterns, each identity's the same but for noise."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for identity in range(IDENTITIES):
        pattern = np.kron(rng.uniform(0, 255, (4, 4, 3)), np.ones((8, 8, 1)))
        for photo in range(PHOTOS):
            pixels = np.clip(pattern + rng.normal(0, 20, pattern.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{identity}-{photo}.png")
    return folder


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    names = [(identity, f"{identity}-{photo}.png") for identity in range(IDENTITIES) for photo in range(PHOTOS)]
    rows = [(a, b, one == other) for one, a in names for other, b in names if a < b]
    return pd.DataFrame(rows, columns=["left", "right", "same"])


@pytest.fixture(scope="module")
def network() -> SiameseNetwork:
    torch.manual_seed(0)
    encoder = create_encoder("timm/test_resnet@random", input_size=(32, 32))
    network = SiameseNetwork(encoder, pair_head="difference+product", pair_hidden=4)
    with torch.no_grad():
        for parameter in network.pair_head.parameters():  # type: ignore[union-attr]
            parameter += 0.2 * torch.randn(parameter.shape)
    return network.eval()


@pytest.fixture(scope="module")
def model(
    network: SiameseNetwork, photos: Path, table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder whose operating points are fitted on the scores of its pair head."""
    scored = score_pairs(Verifier("net", network, None, device="cpu"), table, photos, "pairs")
    card = ModelCard(
        encoder=describe_encoder(network),
        head="none",
        embedding_dim=network.embedding_dim,
        pair_head=describe_pair_head(network),
        operating_points=fit_operating_points(scored.scores, table["same"].to_numpy(), "validation"),
    )
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, network, card)
    return folder


def expected_scores(verifier: Verifier, photos: Path, table: pd.DataFrame) -> np.ndarray:
    """The pair head's, pair by pair."""
    names = sorted({*table["left"], *table["right"]})
    vectors = dict(zip(names, verifier.embed([photos / name for name in names]).vectors, strict=True))
    head = verifier.network.pair_head
    assert head is not None
    return np.array(
        [head.similarity(vectors[a][None], vectors[b][None])[0] for a, b in zip(table.left, table.right, strict=True)]
    )


def test_pairs_are_scored_by_the_pair_head(model: Path, photos: Path, table: pd.DataFrame) -> None:
    verifier = Verifier.load(model, device="cpu")
    scores = score_pairs(verifier, table, photos, "pairs").scores
    np.testing.assert_allclose(scores, expected_scores(verifier, photos, table), rtol=0, atol=1e-9)
    assert ((scores >= -1) & (scores <= 1)).all()


def test_comparing_two_images_gives_the_score_and_the_verdict_of_the_pair_file(
    model: Path, photos: Path, table: pd.DataFrame
) -> None:
    verifier = Verifier.load(model, device="cpu")
    scores = score_pairs(verifier, table, photos, "pairs").scores
    for row in (0, 4, 60):
        left, right = photos / table["left"][row], photos / table["right"][row]
        answer, turned = verifier.compare(left, right), verifier.compare(right, left)
        assert answer.similarity == pytest.approx(scores[row], abs=1e-5)
        assert answer.similarity == turned.similarity
        assert answer.same == (answer.similarity >= answer.threshold)
        assert -1 <= answer.threshold <= 1
        assert answer.point is not None
    left, right = (verifier.embed([photos / table[side][4]]).vectors for side in ("left", "right"))
    assert abs(pair_similarity(left, right)[0] - scores[4]) > 0.01
    with pytest.raises(OptionError, match=r"^--threshold 1\.5: expected a similarity from -1 to 1$"):
        verifier.compare(photos / "0-0.png", photos / "0-1.png", threshold=1.5)


def test_evaluation_measures_the_pair_head_at_the_models_operating_point(
    model: Path, photos: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "pairs.csv", index=False)
    verifier = Verifier.load(model, device="cpu")
    found = evaluate(verifier, tmp_path / "pairs.csv", root=photos)
    scores, same = expected_scores(verifier, photos, table), table["same"].to_numpy()
    assert verifier.card is not None
    threshold = found.measurement.threshold
    assert threshold in {point.threshold for point in verifier.operating_points}
    assert found.measurement.accuracy == pytest.approx(((scores >= threshold) == same).mean())
    ranks = scores[same][:, None] > scores[~same][None]
    assert found.measurement.auc == pytest.approx(ranks.mean(), abs=1e-9)
