import hashlib
import json
import pickle
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from siamese.encoders import create_encoder
from siamese.encoders.checksum import sha256_of
from siamese.encoders.weights import WeightsRecord
from siamese.errors import ModelError
from siamese.evaluation.operating_points import OperatingPoint
from siamese.heads.identity import IdentityHead
from siamese.losses.loss import LinearClassifier
from siamese.model import folder as model_folder
from siamese.model.card import ModelCard, PairHeadCard, TrainingCard, ValidationFigures, read_card
from siamese.model.folder import describe_encoder, describe_pair_head, load_model, save_model
from siamese.model.network import SiameseNetwork
from siamese.similarity import normalise

SIZE = (32, 32)
POINT = OperatingPoint(
    name="far=0.1", threshold=0.1 + 0.2, far=1 / 30, tar=2 / 3, split="validation", genuine=30, impostor=30
)


def build(encoder: str = "mobilefacenet", head: str = "mlp", width: int | None = 24) -> SiameseNetwork:
    network = SiameseNetwork(create_encoder(f"{encoder}@random", input_size=SIZE), head, width)
    with torch.no_grad():  # statistics of an untouched network are 0 and 1, which a fresh one would have too
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer += torch.rand(buffer.shape)
    return network.eval()


def card_of(network: SiameseNetwork) -> ModelCard:
    return ModelCard(
        encoder=describe_encoder(network),
        head=network.head_name,
        embedding_dim=network.embedding_dim,
        operating_points=(POINT,),
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = build()
    save_model(tmp_path / "model", network, card_of(network))
    return tmp_path / "model"


def images() -> Tensor:
    return torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def edit_card(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | changes))


def rewrite_weights(folder: Path, state: dict[str, Tensor]) -> None:
    """Other weights, and a card that vouches for them."""
    save_file(state, folder / "model.safetensors")
    edit_card(folder, sha256=sha256_of(folder / "model.safetensors"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("encoder", ["mobilefacenet", "timm/test_vit", "timm/test_resnet", "convnext_atto"])
@pytest.mark.parametrize(("head", "width"), [("none", None), ("identity-start", None), ("mlp", 24)])
def test_a_loaded_model_gives_exactly_the_same_embeddings(
    encoder: str, head: str, width: int | None, tmp_path: Path
) -> None:
    network = build(encoder, head, width)
    save_model(tmp_path, network, card_of(network))
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded(images()), network(images()))
    assert loaded.input_spec == network.input_spec
    assert (loaded.head_name, loaded.embedding_dim) == (network.head_name, network.embedding_dim)
    assert loaded.encoder.name == network.encoder.name
    assert not any(module.training for module in loaded.modules())


def test_the_card_comes_back_as_it_was_written_with_the_hash_of_the_weights(tmp_path: Path) -> None:
    network = build()
    record = WeightsRecord(
        encoder="mobilefacenet", tag=None, source="ü.ckpt", sha256="0" * 64, licence="?", training_set="some faces"
    )
    network.encoder.weights = record
    figures = ValidationFigures(auc=0.1 + 0.2, accuracy=2 / 3, eer=1e-17)
    training = TrainingCard(
        config={"loss": "contrastive", "epochs": 3, "pairs": None},
        baseline=figures,
        best=figures,
        best_epoch=0,
        images=7,
        tuples=9,
        versions={"torch": "1"},
    )
    card = card_of(network).model_copy(update={"training": training, "licence": "for research"})
    save_model(tmp_path, network, card)
    loaded, found = load_model(tmp_path)
    digest = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert found == card.model_copy(update={"sha256": digest})
    assert found == read_card(tmp_path)
    assert loaded.encoder.weights == record
    assert loaded.encoder.pretrained


def with_heads(pair_head: str | None = "difference+chi-square", hidden: int = 6) -> SiameseNetwork:
    encoder = create_encoder("timm/test_resnet@random", input_size=SIZE)
    network = SiameseNetwork(encoder, "linear", 8, pair_head=pair_head, pair_hidden=hidden, pair_dropout=0.0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.rand(parameter.shape)
    return network.eval()


def filled(network: SiameseNetwork, identities: int, subcentres: int) -> SiameseNetwork:
    network.identity_head = IdentityHead(network.embedding_dim, identities, subcentres)
    classifier = LinearClassifier(
        torch.randn(identities, subcentres, network.embedding_dim), torch.randn(identities), 16.0
    )
    network.identity_head.fill(classifier)
    return network


def card_with_heads(
    network: SiameseNetwork, identities: tuple[str, ...] | None = None, subcentres: int = 1
) -> ModelCard:
    update = {"pair_head": describe_pair_head(network), "identities": identities, "subcentres": subcentres}
    return card_of(network).model_copy(update=update)


def unit_rows() -> np.ndarray:
    return normalise(np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32))


@pytest.mark.parametrize(("features", "hidden"), [("difference+chi-square", 6), ("product", 0), ("concatenation", 3)])
def test_a_pair_head_comes_back_and_scores_exactly_the_same(features: str, hidden: int, tmp_path: Path) -> None:
    network = with_heads(features, hidden)
    save_model(tmp_path, network, card_with_heads(network))
    loaded, card = load_model(tmp_path)
    assert card.pair_head == PairHeadCard(features=features, hidden=hidden, dropout=0.0)
    left, right = unit_rows(), unit_rows()[::-1]
    np.testing.assert_array_equal(loaded.pair_similarity(left, right), network.pair_similarity(left, right))
    assert loaded.pair_head is not None
    assert not loaded.pair_head.training


def test_the_dropout_of_a_pair_head_comes_back(tmp_path: Path) -> None:
    encoder = create_encoder("timm/test_resnet@random", input_size=SIZE)
    network = SiameseNetwork(encoder, pair_head="squared", pair_hidden=2, pair_dropout=0.25)
    save_model(tmp_path, network, card_with_heads(network))
    loaded = load_model(tmp_path)[0].pair_head
    assert loaded is not None
    assert loaded.dropout == 0.25


@pytest.mark.parametrize("subcentres", [1, 3])
@pytest.mark.parametrize("pair_head", [None, "product"])
def test_an_identity_head_comes_back_with_its_labels(pair_head: str | None, subcentres: int, tmp_path: Path) -> None:
    labels = ("Ærøskøbing", "b", "a", "日本")
    network = filled(with_heads(pair_head, 0), 4, subcentres)
    save_model(tmp_path, network, card_with_heads(network, labels, subcentres))
    loaded, card = load_model(tmp_path)
    assert (card.identities, card.subcentres) == (labels, subcentres)
    embeddings = network(images())
    assert loaded.identity_head is not None
    assert network.identity_head is not None
    assert torch.equal(loaded.identity_head(embeddings), network.identity_head(embeddings))


def test_a_hundred_thousand_identities_are_as_large_as_their_names(tmp_path: Path) -> None:
    labels = tuple(f"identity-{number:06d}" for number in range(100_000))
    network = filled(with_heads(None, 0), 100_000, 1)
    save_model(tmp_path, network, card_with_heads(network, labels))
    assert (tmp_path / "model.json").stat().st_size < 2 * sum(map(len, labels))
    assert load_model(tmp_path)[1].identities == labels


def test_a_folder_written_before_these_heads_were_there_still_loads(saved: Path) -> None:
    expected = load_model(saved)[0](images())
    card = json.loads((saved / "model.json").read_text())
    for name in ("pair_head", "identities", "subcentres"):
        del card[name]
    (saved / "model.json").write_text(json.dumps(card))
    network, found = load_model(saved)
    assert torch.equal(network(images()), expected)
    assert (network.pair_head, network.identity_head) == (None, None)
    assert (found.pair_head, found.identities, found.subcentres) == (None, None, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"identities": ["a", "b"]},
            r"Error\(s\) in loading .* Missing key\(s\) in state_dict: \"identity_head\.weight\"",
        ),
        (
            {"pair_head": {"features": "product"}},
            r"Error\(s\) in loading .* Missing key\(s\) in state_dict: \"pair_head\.logistic\.weight\"",
        ),
        ({"pair_head": {"features": "produkt"}}, "unknown feature of --pair-head 'produkt': did you mean 'product'"),
        ({"pair_head": {"features": "product", "hidden": -1}}, "--pair-hidden -1: expected 0 "),
    ],
)
def test_heads_that_the_card_names_and_the_weights_lack_are_refused(
    saved: Path, changes: dict[str, Any], reason: str
) -> None:
    edit_card(saved, **changes)
    place = re.escape(str(saved))
    with pytest.raises(
        ModelError, match=rf"^{place}: the weights do not fit model\.json \({reason}[^\n]*copy the fol"
    ):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pair_head": None}, r"Unexpected key\(s\) in state_dict: \"pair_head\."),
        ({"pair_head": {"features": "product", "hidden": 6}}, r"size mismatch for pair_head\.logistic\.weight"),
        ({"pair_head": {"features": "difference+chi-square"}}, r"Unexpected key\(s\).*\"pair_head\.residual\."),
        ({"identities": None}, r"Unexpected key\(s\) in state_dict: \"identity_head\."),
        ({"identities": ["a", "b"]}, r"size mismatch for identity_head\.weight"),
        ({"subcentres": 2}, r"size mismatch for identity_head\.weight"),
    ],
)
def test_heads_that_the_weights_hold_and_the_card_denies_are_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    network = filled(with_heads(), 3, 1)
    save_model(tmp_path, network, card_with_heads(network, ("a", "b", "c")))
    edit_card(tmp_path, **changes)
    with pytest.raises(ModelError, match=rf"the weights do not fit model\.json \(.*{reason}"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identities": []}, "identities: Tuple should have at least 1 item"),
        ({"subcentres": 0}, "subcentres: Input should be greater than or equal to 1"),
        ({"pair_head": {"features": "product", "colour": 1}}, "pair_head.colour: Extra inputs are not permitted"),
        ({"pair_head": {}}, "pair_head.features: Field required"),
    ],
)
def test_a_card_with_impossible_heads_is_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit_card(saved, **changes)
    expected = re.escape(f"{saved / 'model.json'}: {message}")
    with pytest.raises(ModelError, match=rf"^{expected}[^\n]*; the file was changed, copy the folder again$"):
        load_model(saved)


def test_a_card_that_does_not_describe_the_network_is_not_written(tmp_path: Path) -> None:
    network = with_heads("product", 0)
    with pytest.raises(ValueError, match=r"^the card's pair head is None, the network's features='product' hidden=0"):
        save_model(tmp_path / "model", network, card_of(network))
    filled(network, 3, 2)
    with pytest.raises(ValueError, match=r"^identities and sub-centres: the card has None, the network \(3, 2\)$"):
        save_model(tmp_path / "model", network, card_with_heads(network))
    with pytest.raises(ValueError, match=r"the card has \(2, 2\), the network \(3, 2\)$"):
        save_model(tmp_path / "model", network, card_with_heads(network, ("a", "b"), 2))
    assert not (tmp_path / "model").exists()


def test_only_the_weights_and_a_readable_card_are_written(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "model.safetensors"]
    card = json.loads((saved / "model.json").read_text())
    assert (card["format"], card["encoder"]["name"], card["head"]) == (1, "mobilefacenet", "mlp")
    assert card["operating_points"][0]["threshold"] == POINT.threshold
    assert set(load_file(saved / "model.safetensors")) == set(build().state_dict())


def test_the_folder_may_be_copied_anywhere(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "another place" / "mödel"
    shutil.copytree(saved, copy)
    assert torch.equal(load_model(copy)[0](images()), load_model(saved)[0](images()))


def test_loading_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An encoder whose own weights would be downloaded if they were asked for, and a cache that holds nothing.
    network = build("convnext_atto", "none", None)
    save_model(tmp_path / "model", network, card_of(network))
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert torch.equal(load_model(tmp_path / "model")[0](images()), network(images()))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("place", [0, 8, 1000, -1])
def test_one_changed_byte_in_the_weights_is_noticed(saved: Path, place: int) -> None:
    weights = saved / "model.safetensors"
    expected = sha256_of(weights)
    data = bytearray(weights.read_bytes())
    data[place] ^= 1
    weights.write_bytes(data)
    message = (
        f"{weights}: changed since it was saved (SHA-256 {sha256_of(weights)[:12]}..., expected "
        f"{expected[:12]}...); copy the model folder again"
    )
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        load_model(saved)


def test_cut_off_weights_are_noticed(saved: Path) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors: changed since it was saved \(SHA-256 "):
        load_model(saved)


def test_a_missing_file_is_named(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    message = f"{saved}: no model.safetensors; the model folder is incomplete, copy it again"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        load_model(saved)
    (saved / "model.json").unlink()
    message = f"{saved}: no model.json; expected a model folder as `siamese train -o` writes it"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        load_model(saved)
    with pytest.raises(ModelError, match=r"nowhere: no model\.json; expected a model folder"):
        load_model(saved / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"embedding_dim": "wide"}, "embedding_dim: Input should be a valid integer"),
        ({"encoder": {"name": "mobilefacenet"}}, "encoder.feature_dim: Field required"),
        ({"operating_points": [{"name": "eer"}]}, "operating_points.0.threshold: Field required"),
    ],
)
def test_a_card_with_fields_that_do_not_fit_is_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit_card(saved, **changes)
    expected = re.escape(f"{saved / 'model.json'}: {message}")
    with pytest.raises(ModelError, match=rf"^{expected}[^\n]*; the file was changed, copy the folder again$"):
        load_model(saved)


def test_a_card_that_is_no_json_is_refused(saved: Path) -> None:
    (saved / "model.json").write_text('{"format": 1,')
    with pytest.raises(ModelError, match=r"model\.json: the file: Invalid JSON: [^\n]*copy the folder again$"):
        load_model(saved)
    (saved / "model.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match=r"model\.json: "):
        load_model(saved)


def test_a_card_that_is_a_folder_cannot_be_read(saved: Path) -> None:
    (saved / "model.json").unlink()
    (saved / "model.json").mkdir()
    with pytest.raises(ModelError, match=r"model\.json: cannot be read \("):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"head": "linear"}, r"Error\(s\) in loading state_dict for SiameseNetwork: Missing key\(s\)"),
        ({"head": "transformer"}, "unknown head 'transformer'"),
        ({"embedding_dim": 25}, r"Error\(s\) in loading state_dict for SiameseNetwork: size mismatch"),
        ({"embedding_dim": 0}, "--embedding-dim 0: expected 1 or more"),
    ],
)
def test_weights_that_do_not_fit_the_card_are_refused(saved: Path, changes: dict[str, Any], reason: str) -> None:
    edit_card(saved, **changes)
    place = re.escape(str(saved))
    with pytest.raises(
        ModelError, match=rf"^{place}: the weights do not fit model\.json \({reason}.*copy the folder"
    ):
        load_model(saved)


@pytest.mark.parametrize("name", ["resnet", "mobilefacenet@weights.ckpt", "timm/nothing_like_it"])
def test_an_encoder_that_is_not_known_is_refused(saved: Path, name: str) -> None:
    card = json.loads((saved / "model.json").read_text())
    edit_card(saved, encoder=card["encoder"] | {"name": name})
    with pytest.raises(ModelError, match=rf"the weights do not fit model\.json \(.*{re.escape(name)}"):
        load_model(saved)


def test_another_input_size_than_the_weights_were_trained_at_is_refused(saved: Path) -> None:
    card = json.loads((saved / "model.json").read_text())
    card["encoder"]["input_spec"]["size"] = [112, 96]
    edit_card(saved, encoder=card["encoder"])
    with pytest.raises(ModelError, match=r"the weights do not fit model\.json \(.*size mismatch.*linear7"):
        load_model(saved)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_of_another_network_are_refused_even_if_the_card_vouches_for_them(saved: Path, change: str) -> None:
    state = load_file(saved / "model.safetensors")
    if change == "missing":
        del state["head.0.weight"]
    elif change == "extra":
        state["head.9.weight"] = torch.ones(2)
    else:
        state["head.0.weight"] = torch.ones(2)
    rewrite_weights(saved, state)
    with pytest.raises(
        ModelError, match=rf"the weights do not fit model\.json \(.*head\.{9 if change == 'extra' else 0}"
    ):
        load_model(saved)


class Planted:
    """Runs when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_pickle_in_the_place_of_the_weights_is_refused_and_never_run(
    saved: Path, tmp_path: Path, writer: str
) -> None:
    trace = tmp_path / "ran"
    weights = saved / "model.safetensors"
    if writer == "pickle":
        weights.write_bytes(pickle.dumps(Planted(trace)))
    else:
        torch.save({"head.0.weight": Planted(trace)}, weights)
    with pytest.raises(ModelError, match=r"model\.safetensors: changed since it was saved"):
        load_model(saved)
    # Nor if the card was forged to vouch for it.
    edit_card(saved, sha256=sha256_of(weights))
    with pytest.raises(ModelError, match=r"the weights do not fit model\.json \(.*copy the folder again$"):
        load_model(saved)
    assert not trace.exists()
    if writer == "pickle":  # the plant itself works
        pickle.loads(weights.read_bytes())  # noqa: S301
        assert trace.exists()


def test_an_interrupted_save_leaves_the_old_model_whole(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, expected = contents(saved), load_model(saved)[0](images())

    def interrupted(state: dict[str, Tensor], file: Path) -> None:
        file.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(model_folder, "save_file", interrupted)
    other = build("mobilefacenet", "linear", 8)
    with pytest.raises(KeyboardInterrupt):
        save_model(saved, other, card_of(other))
    assert contents(saved) == before
    assert torch.equal(load_model(saved)[0](images()), expected)


def test_a_save_cut_off_before_its_card_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError("no space left")

    expected = load_model(saved)[0](images())
    other = build("mobilefacenet", "linear", 8)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(model_folder, "write_text", full)
        save_model(saved, other, card_of(other))
    assert torch.equal(load_model(saved)[0](images()), expected)
    save_model(saved, other, card_of(other))
    assert torch.equal(load_model(saved)[0](images()), other(images()))
    assert set(contents(saved)) == {"model.safetensors", "model.json"}


def test_a_save_cut_off_after_its_card_leaves_the_new_model_also_for_the_next_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, third = build("mobilefacenet", "linear", 8), build("mobilefacenet", "linear", 9)
    save_model(saved, other, card_of(other))
    (saved / "model.safetensors").rename(saved / "model-new.safetensors")
    (saved / "model.safetensors").write_bytes(b"of the model before")
    assert torch.equal(load_model(saved)[0](images()), other(images()))

    def interrupted(state: dict[str, Tensor], file: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(model_folder, "save_file", interrupted)
        save_model(saved, third, card_of(third))
    assert torch.equal(load_model(saved)[0](images()), other(images()))


def test_saving_again_replaces_the_model(saved: Path) -> None:
    other = build("mobilefacenet", "linear", 8)
    save_model(saved, other, card_of(other))
    assert torch.equal(load_model(saved)[0](images()), other(images()))


def test_a_folder_of_a_newer_version_says_so(saved: Path) -> None:
    edit_card(saved, format=2)
    with pytest.raises(ModelError, match=r"model\.json: model folder of format 2, expected 1; use the version"):
        load_model(saved)
