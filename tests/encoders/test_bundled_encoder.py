"""A model folder as the encoder of the next model: its embedding, its name, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from siamese import __version__
from siamese.encoders import create_encoder, create_untrained, list_encoders
from siamese.encoders.headed_encoder import HeadedEncoder, parse_headed
from siamese.encoders.weights import WeightsRecord
from siamese.errors import ModelError, OptionError, WeightsError
from siamese.images.input_spec import InputSpec
from siamese.model.card import ModelCard, TrainingCard, ValidationFigures
from siamese.model.folder import describe_encoder, describe_pair_head, load_model, save_model
from siamese.model.network import SiameseNetwork
from siamese.training.build import default_head

SPEC = InputSpec(size=(32, 32), mean=(0.1, 0.2, 0.3), alignment="arcface-112")
FIGURES = ValidationFigures(auc=0.9, accuracy=0.8, eer=0.2)


def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def save(
    folder: Path,
    head: str = "linear",
    width: int | None = 24,
    pair_head: str | None = None,
    name: str = "timm/test_resnet",
) -> SiameseNetwork:
    encoder = create_untrained(name, SPEC)
    encoder.weights = WeightsRecord(
        encoder=name, tag="t", source="http://x", sha256="0" * 64, licence="free", training_set="ImageNet-1k"
    )
    network = SiameseNetwork(encoder, head, width, pair_head=pair_head)
    with torch.no_grad():
        for parameter in network.parameters():  # an identity-start head would else be the identity
            parameter += 0.1 * torch.randn(parameter.shape)
    card = ModelCard(
        encoder=describe_encoder(network),
        head=head,
        embedding_dim=network.embedding_dim,
        pair_head=describe_pair_head(network),
        operating_points=(),
        training=TrainingCard(
            config={"data": "/somewhere/faces"},
            baseline=FIGURES,
            best=FIGURES,
            best_epoch=1,
            images=1234,
            tuples=5,
            versions={},
        ),
        licence="free to look at",
    )
    save_model(folder, network, card)
    return network.eval()


@pytest.mark.parametrize(("head", "width"), [("linear", 24), ("mlp", 8), ("identity-start", None), ("none", None)])
def test_features_are_the_embedding_before_it_is_scaled(head: str, width: int | None, tmp_path: Path) -> None:
    network = save(tmp_path / "model", head, width)
    encoder = create_encoder(str(tmp_path / "model")).eval()
    with torch.no_grad():
        assert torch.equal(encoder(images()), network.head(network.encoder(images())))
        torch.testing.assert_close(SiameseNetwork(encoder).eval()(images()), network(images()))
    assert encoder.feature_dim == network.embedding_dim
    assert encoder.input_spec == SPEC
    assert (encoder.pretrained, encoder.verifies) == (True, True)


def test_its_name_and_input_rebuild_it_without_the_folder(tmp_path: Path) -> None:
    save(tmp_path / "model")
    encoder = create_encoder(str(tmp_path / "model")).eval()
    shutil.rmtree(tmp_path / "model")
    assert encoder.name == "timm/test_resnet+linear:24"
    again = create_untrained(encoder.name, encoder.input_spec)
    assert (again.pretrained, again.input_spec) == (False, SPEC)
    again.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(images()), encoder(images()))


def test_a_verifier_of_a_verifier_is_saved_loaded_and_built_upon_again(tmp_path: Path) -> None:
    save(tmp_path / "first")
    second = SiameseNetwork(create_encoder(str(tmp_path / "first")), "identity-start").eval()
    card = ModelCard(encoder=describe_encoder(second), head="identity-start", embedding_dim=24, operating_points=())
    save_model(tmp_path / "second", second, card)
    shutil.rmtree(tmp_path / "first")
    loaded, found = load_model(tmp_path / "second")
    assert found.encoder.name == "timm/test_resnet+linear:24"
    assert torch.equal(loaded(images()), second(images()))
    third = create_encoder(str(tmp_path / "second"))
    assert third.name == "timm/test_resnet+linear:24+identity-start:24"
    assert create_untrained(third.name, SPEC).state_dict().keys() == third.state_dict().keys()


def test_the_record_says_where_it_comes_from(tmp_path: Path) -> None:
    save(tmp_path / "my model")
    record = create_encoder(str(tmp_path / "my model")).weights
    assert record == WeightsRecord(
        encoder="timm/test_resnet+linear:24",
        tag=None,
        source="my model",
        sha256=json.loads((tmp_path / "my model" / "model.json").read_text())["sha256"],
        licence="free to look at",
        training_set="ImageNet-1k, then 1,234 images of faces",
    )


def test_the_one_that_ships_is_called_by_its_name(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "bundled")
    monkeypatch.chdir(tmp_path)
    encoder = create_encoder("bundled").eval()
    network, card = load_model(bundled)
    assert encoder.name == "timm/regnetx_002+linear:256"
    assert encoder.weights is not None
    assert encoder.weights.source == f"bundled with siamese {__version__}"
    assert encoder.weights.sha256 == card.sha256
    pixels = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(SiameseNetwork(encoder).eval()(pixels), network(pixels))
    assert default_head(encoder) == "identity-start"
    assert create_encoder("./bundled").name == "timm/test_resnet+linear:24"


def test_a_package_without_one_says_so(nothing_bundled: Path) -> None:
    with pytest.raises(ModelError, match=r"^bundled: this installation of siamese came without its model"):
        create_encoder("bundled")


def test_stages_are_those_of_the_trunk_and_the_head(tmp_path: Path) -> None:
    save(tmp_path / "model")
    encoder = create_encoder(str(tmp_path / "model"))
    assert isinstance(encoder, HeadedEncoder)
    assert encoder.stages()[:-1] == encoder.trunk.stages()
    assert encoder.stages()[-1] == [encoder.head]
    staged = [parameter for stage in encoder.stages() for module in stage for parameter in module.parameters()]
    assert {id(each) for each in staged} == {id(each) for each in encoder.parameters()}
    save(tmp_path / "bare", "none", None)
    bare = create_encoder(str(tmp_path / "bare"))
    assert isinstance(bare, HeadedEncoder)
    assert bare.stages() == bare.trunk.stages()


def test_the_pair_head_stays_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = save(tmp_path / "model", pair_head="squared")
    caplog.set_level("INFO", "siamese")
    encoder = create_encoder(str(tmp_path / "model")).eval()
    assert f"{tmp_path / 'model'}: its pair head stays behind, its embedding goes on" in caplog.messages
    with torch.no_grad():
        assert torch.equal(encoder(images()), network.head(network.encoder(images())))


def test_encoders_with_a_name_go_before_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "mobilefacenet@random")
    save(tmp_path / "own@work")
    monkeypatch.chdir(tmp_path)
    assert create_encoder("mobilefacenet@random").name == "mobilefacenet"
    assert create_encoder("./mobilefacenet@random").name == "timm/test_resnet+linear:24"
    assert create_encoder("own@work").name == "timm/test_resnet+linear:24"


def test_another_input_size_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "model")
    assert create_encoder(str(tmp_path / "model"), input_size=(32, 32)).feature_dim == 24
    with pytest.raises(OptionError) as caught:
        create_encoder(str(tmp_path / "model"), input_size=(64, 48))
    assert str(caught.value) == (
        f"--input-size: the model {tmp_path / 'model'} has its own, 32x32; leave the option out, or start from an "
        "encoder by name"
    )


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("ab") as stream:
        stream.write(b"!")
    where = re.escape(str(tmp_path / "model" / "model.safetensors"))
    with pytest.raises(ModelError, match=rf"^{where}: changed since it was saved \(SHA-256 "):
        create_encoder(str(tmp_path / "model"))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        create_encoder(str(tmp_path))
    assert str(caught.value) == f"{tmp_path}: no model.json; expected a model folder as `siamese train -o` writes it"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embedding_dim": 25}, "the weights do not fit model.json"),
        ({"head": "cone"}, "the weights do not fit model.json (unknown head 'cone'"),
        ({"format": 2}, "model.json: format: Input should be 1; the file was changed, copy the folder again"),
        ({"encoder": None}, "model.json: encoder: "),
        (
            {"encoder": {"name": "x", "input_spec": {"size": [9, 9], "fit": "?"}, "weights": None}},
            "model.json: fit: ",
        ),
    ],
)
def test_a_card_that_does_not_fit_is_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    save(tmp_path / "model")
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    (tmp_path / "model" / "model.json").write_text(json.dumps(card | change))
    with pytest.raises(ModelError) as caught:
        create_encoder(str(tmp_path / "model"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# A head inside, by name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("timm/regnetx_002+linear:256", ("timm/regnetx_002", "linear", 256)),
        ("a+linear:2+identity-start:3", ("a+linear:2", "identity-start", 3)),
        ("timm/regnetx_002", None),
        ("openvino:/c++/linear:256", None),
        ("a+linear:", None),
        ("+linear:3", None),
    ],
)
def test_a_head_is_read_off_the_end_of_a_name(name: str, parts: tuple[str, str, int] | None) -> None:
    assert parse_headed(name) == parts


def test_a_head_may_be_asked_for_with_random_weights_or_those_of_a_file(tmp_path: Path) -> None:
    network = save(tmp_path / "model")
    random = create_encoder("timm/test_resnet+linear:24@random", input_size=(32, 32))
    assert (random.feature_dim, random.pretrained, random.input_spec.size) == (24, False, (32, 32))
    file = tmp_path / "model" / "model.safetensors"
    read = create_encoder(f"timm/test_resnet+linear:24@{file}", input_size=(32, 32)).eval()
    with torch.no_grad():
        assert torch.equal(read(images()), network.head(network.encoder(images())))


def test_a_head_inside_has_no_weights_to_download() -> None:
    with pytest.raises(OptionError) as caught:
        create_encoder("timm/test_resnet+linear:24")
    assert str(caught.value) == (
        "encoder 'timm/test_resnet+linear:24': no weights of it can be downloaded; give "
        "timm/test_resnet+linear:24@FILE, or timm/test_resnet+linear:24@random"
    )


def test_an_unknown_head_and_weights_of_another_head_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "model")
    with pytest.raises(OptionError, match=r"^unknown head 'linaer': did you mean 'linear'"):
        create_encoder("timm/test_resnet+linaer:24@random")
    file = tmp_path / "model" / "model.safetensors"
    with pytest.raises(
        WeightsError, match=r"expected those of a model with encoder and head timm/test_resnet\+mlp:24"
    ):
        create_encoder(f"timm/test_resnet+mlp:24@{file}", input_size=(32, 32))


# The list


def test_the_list_begins_with_the_one_that_ships(bundled: Path) -> None:
    row = list_encoders()[0]
    assert (row.name, row.tag, row.default, row.cached, row.packaged) == ("bundled", None, True, True, True)
    assert (row.input_size, row.feature_dim, row.licence, row.megabytes) == ((112, 112), 256, "for tests", 5)
    assert row.path == bundled / "model.safetensors"
    assert row.note.startswith("the verifier that ships with siamese: MODEL bundled, taken where none is named")


def test_the_list_says_where_a_package_has_none(nothing_bundled: Path) -> None:
    row = list_encoders()[0]
    assert (row.name, row.cached, row.packaged, row.path, row.megabytes) == ("bundled", False, False, None, None)
    assert row.note == "a verifier that ships with siamese, but not with this installation"
