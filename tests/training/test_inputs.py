from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siamese.errors import OptionError
from siamese.model.embedding import embed_pixels
from siamese.training.inputs import prepare_inputs
from siamese.training.kept_features import clear_features
from siamese.training.sources import FeatureSource, PixelSource

from .conftest import Losses, Parts, TinyEncoder, make_data, make_parts

TUPLES: dict[str, Any] = {"loss": "contrastive", "num_pairs": 40}
IDENTITIES: dict[str, Any] = {"loss": "cross_entropy:1.0+triplet:0.5+mining=semihard", "images_per_identity": 3}


def parts(people: Path, folder: Path, **values: Any) -> Parts:
    views = {"views": 3} if values.get("augment", "none") != "none" else {}
    return make_parts(people, folder, **{"freeze": "all", **views, "epochs": 2, "batch_size": 8} | values)


@pytest.mark.parametrize("augment", ["none", "light", "distortion"])
@pytest.mark.parametrize("what", [TUPLES, IDENTITIES], ids=["tuples", "identities"])
def test_training_on_cached_features_is_training_through_the_encoder(
    people: Path, tmp_path: Path, augment: str, what: dict[str, Any]
) -> None:
    live, cached = (
        parts(people, tmp_path / kind, features=kind, augment=augment, **what) for kind in ("live", "cached")
    )
    assert (live.inputs.cached, cached.inputs.cached) == (False, True)
    seen = [Losses(), Losses()]
    torch.manual_seed(7)
    live.train(seen[0])
    computed = cached.network.encoder.seen
    torch.manual_seed(7)
    cached.train(seen[1])
    assert cached.network.encoder.seen == computed  # never once did it run in training
    assert seen[0].rows == seen[1].rows
    assert len(seen[0].values) >= 6
    for ours, theirs in zip(seen[0].embeddings, seen[1].embeddings, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen[0].values, seen[1].values, atol=1e-5)
    states = [each.module.trained.state_dict() for each in (live, cached)]
    assert states[0].keys() == states[1].keys()
    for name, weights in states[0].items():
        torch.testing.assert_close(weights, states[1][name], rtol=0, atol=1e-5)
    figures = [each.validation().measure(each.network) for each in (live, cached)]
    assert figures[0] == figures[1]


def test_validation_looks_at_damaged_images_where_training_is_distorted(people: Path, tmp_path: Path) -> None:
    plain = parts(people, tmp_path / "light", augment="light", **TUPLES)
    assert plain.inputs.damaged is None
    assert parts(people, tmp_path / "off", augment="distortion", val_augment="none", **TUPLES).inputs.damaged is None
    rows = np.unique(plain.data.val.rows)
    looks = []
    for kind in ("live", "cached"):
        made = parts(people, tmp_path / kind, augment="distortion", features=kind, **TUPLES)
        assert made.inputs.damaged is not None
        looks.append(made.inputs.damaged.embed(made.network, rows))
    np.testing.assert_allclose(looks[0], looks[1], atol=1e-5)
    assert np.abs(looks[0] - plain.inputs.images.embed(plain.network, rows)).max() > 0.01


def test_training_moved_the_weights_that_are_compared(people: Path, tmp_path: Path) -> None:
    made = parts(people, tmp_path, features="cached", augment="light", **TUPLES)
    before = {name: weights.clone() for name, weights in made.network.head.state_dict().items()}
    made.train()
    assert any(
        (weights - before[name]).abs().max() > 1e-3 for name, weights in made.network.head.state_dict().items()
    )


@pytest.mark.parametrize(("freeze", "cached"), [("all", True), ("1", False), ("none", False)])
def test_features_are_cached_where_the_whole_encoder_is_frozen(
    people: Path, tmp_path: Path, freeze: str, cached: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="siamese")
    made = parts(people, tmp_path, freeze=freeze, **TUPLES)
    assert made.inputs.cached is cached
    assert isinstance(made.inputs.source, FeatureSource if cached else PixelSource)
    said = (
        "the encoder is frozen: its features of 1 view of each image are computed once, and the head trains on them "
        "(--features live computes them at every step)"
    )
    assert (said in caplog.messages) is cached


@pytest.mark.parametrize(
    ("augment", "views", "epochs", "count"),
    [("light", None, 3, 3), ("light", None, 30, 8), ("light", 5, 3, 5), ("none", None, 3, 1)],
)
def test_cached_views_are_as_many_as_asked_for_or_one_an_epoch_up_to_eight(
    people: Path, tmp_path: Path, augment: str, views: int | None, epochs: int, count: int
) -> None:
    made = parts(people, tmp_path, augment=augment, views=views, epochs=epochs, **TUPLES)
    plain = len(made.data.plain_rows(training=False))
    # One view more of what validation looks at; nothing more where the images are the same.
    assert made.network.encoder.seen == count * len(made.data.rows) + plain


def test_validation_takes_plain_features_of_its_images(people: Path, tmp_path: Path) -> None:
    made = parts(people, tmp_path, augment="distortion", **TUPLES)
    rows = np.unique(made.data.val.rows)
    pixels = made.data.cache.pixels
    np.testing.assert_allclose(
        made.inputs.images.embed(made.network, rows), embed_pixels(made.network, pixels, rows), atol=1e-6
    )


def test_features_are_kept_from_run_to_run_for_another_head(people: Path, tmp_path: Path) -> None:
    first = parts(people, tmp_path / "one", cache=str(tmp_path / "kept"), **TUPLES)
    assert first.network.encoder.seen > 0
    other = {**TUPLES, "head": "linear", "loss": "pairwise", "lr": 0.1}
    second = parts(people, tmp_path / "two", cache=str(tmp_path / "kept"), **other)
    assert second.network.encoder.seen == 0
    assert not (tmp_path / "two" / "features").exists()


def test_without_a_cache_features_lie_in_the_run_folder_and_are_removed_with_the_run(
    people: Path, tmp_path: Path
) -> None:
    made = parts(people, tmp_path, **TUPLES)
    assert list((tmp_path / "features").glob("*.f32"))
    made.data.cache.close()
    clear_features(tmp_path)
    assert not (tmp_path / "features").exists()
    clear_features(tmp_path)


def test_what_was_kept_changes_nothing_that_is_drawn_later(people: Path, tmp_path: Path) -> None:
    kept: dict[str, Any] = {"cache": str(tmp_path / "kept"), **IDENTITIES}
    first, second = (parts(people, tmp_path / name, **kept) for name in ("one", "two"))
    assert first.network.encoder.seen > second.network.encoder.seen == 0
    for name, weights in first.module.trained.state_dict().items():
        assert torch.equal(weights, second.module.trained.state_dict()[name])


def test_another_seed_has_other_views(people: Path, tmp_path: Path) -> None:
    val = {"cache": str(tmp_path / "kept"), "augment": "light"}
    first, second = (parts(people, tmp_path / str(seed), seed=seed, **val, **TUPLES) for seed in (0, 1))
    assert first.network.encoder.seen > 0
    assert second.network.encoder.seen > 0


def test_features_of_an_encoder_that_trains_cannot_be_cached(people: Path, tmp_path: Path) -> None:
    message = r"^--features cached: the encoder trains, so its features change; use --freeze all$"
    with pytest.raises(OptionError, match=message):
        parts(people, tmp_path, freeze="1", features="cached", **TUPLES)


def test_computing_features_leaves_dropout_out(people: Path, tmp_path: Path) -> None:
    class Dropping(TinyEncoder):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = torch.nn.functional.dropout(super().forward(images), 0.5, self.training)
            return features

    made = parts(people, tmp_path / "one", augment="light", **TUPLES)
    values = {"freeze": "all", "augment": "light", "views": 3, "epochs": 2, "batch_size": 8} | TUPLES
    config, data = make_data(people, tmp_path / "two", **values)
    dropping = type(made.network)(Dropping(), "mlp")
    dropping.freeze("all")
    found = prepare_inputs(config, dropping.train(), data, "cpu", tmp_path / "two", means=False)
    rows = data.rows[:4]
    np.testing.assert_array_equal(found.source.take(rows, 0), made.inputs.source.take(rows, 0))
