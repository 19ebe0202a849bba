"""The verifier that ships: where it lies, how it is named, that builds carry it, and weights in 16 bits."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from siamese import Verifier
from siamese.encoders import bundled as bundling
from siamese.encoders import create_untrained
from siamese.encoders.bundled import BUNDLED, bundled_folder, name_of_model, path_of_model
from siamese.errors import ModelError, OptionError
from siamese.images.input_spec import InputSpec
from siamese.model.card import ModelCard, read_card
from siamese.model.folder import describe_encoder, load_model, save_model
from siamese.model.network import SiameseNetwork

PROJECT = Path(__file__).parents[2]
SIZE = (32, 32)
LIMIT = 8_000_000


def network_of(head: str = "linear", width: int = 24) -> SiameseNetwork:
    encoder = create_untrained("timm/test_resnet", InputSpec(size=SIZE))
    network = SiameseNetwork(encoder, head, width)
    with torch.no_grad():
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer += torch.rand(buffer.shape) * 1e-4
    return network.eval()


def card_of(network: SiameseNetwork) -> ModelCard:
    return ModelCard(
        encoder=describe_encoder(network),
        head=network.head_name,
        embedding_dim=network.embedding_dim,
        operating_points=(),
    )


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


# Weights in 16 bits


def test_kernels_and_matrices_are_rounded_to_the_nearest_of_16_bits_and_nothing_else_is(tmp_path: Path) -> None:
    network = network_of()
    save_model(tmp_path, network, card_of(network), half=True)
    written = load_file(tmp_path / "model.safetensors")
    parameters = dict(network.named_parameters())
    kinds = set()
    for name, tensor in network.state_dict().items():
        rounded = name in parameters and tensor.ndim > 1
        expected = tensor.numpy().astype(np.float16) if rounded else tensor.numpy()
        assert written[name].dtype == expected.dtype, name
        assert np.array_equal(written[name], expected), name
        kinds.add(str(expected.dtype))
    assert kinds == {"float16", "float32", "int64"}


def test_a_model_in_16_bits_loads_in_float32_and_embeds_as_its_rounded_weights_do(tmp_path: Path) -> None:
    network = network_of()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_model(tmp_path, network, card_of(network), half=True)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    loaded, card = load_model(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert card.sha256 == read_card(tmp_path).sha256
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.from_numpy(parameter.numpy().astype(np.float16).astype(np.float32)))
        assert torch.equal(loaded(images()), network(images()))
        assert not torch.equal(loaded(images()), _with(network, before)(images()))


def _with(network: SiameseNetwork, state: dict[str, torch.Tensor]) -> SiameseNetwork:
    network.load_state_dict(state)
    return network


def test_16_bits_halve_the_file(tmp_path: Path) -> None:
    network = network_of("mlp", 512)
    save_model(tmp_path / "whole", network, card_of(network))
    save_model(tmp_path / "half", network, card_of(network), half=True)
    whole, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half"))
    assert 0.5 * whole < half < 0.55 * whole


@pytest.mark.parametrize("value", [7e4, float("inf"), float("nan")])
def test_a_weight_beyond_16_bits_is_refused_and_nothing_is_written(value: float, tmp_path: Path) -> None:
    network = network_of()
    assert isinstance(network.head, nn.Linear)
    with torch.no_grad():
        network.head.weight[1, 2] = value
    with pytest.raises(ModelError) as caught:
        save_model(tmp_path / "model", network, card_of(network), half=True)
    assert str(caught.value) == (
        f"head.weight: holds {value:g}, and 16 bits hold at most 65504; save the model in float32"
    )
    assert not (tmp_path / "model" / "model.json").exists()


# Its name


def test_no_name_and_the_plain_name_mean_the_one_that_ships(bundled: Path) -> None:
    assert name_of_model(None) == name_of_model("bundled") == BUNDLED
    assert path_of_model(BUNDLED) == bundled_folder() == bundled


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (Path("bundled"), f".{os.sep}bundled"),
        ("./bundled", "./bundled"),
        (Path("/a/bundled"), "/a/bundled"),
        ("mobilefacenet@x.pt", "mobilefacenet@x.pt"),
    ],
)
def test_a_folder_of_the_same_name_is_named_by_its_path(given: str | Path, name: str) -> None:
    assert name_of_model(given) == name
    assert path_of_model(name) == Path(given)


def test_the_one_that_ships_goes_before_a_folder_of_its_name(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of(width=7)
    save_model(tmp_path / "bundled", network, card_of(network))
    monkeypatch.chdir(tmp_path)
    named = (None, "bundled", "./bundled", "bundled/")
    widths = {str(name): Verifier.load(name, device="cpu").embedding_dim for name in named}
    assert widths == {"None": 256, "bundled": 256, "./bundled": 7, "bundled/": 7}
    assert Verifier.load(Path("bundled"), device="cpu").embedding_dim == 7
    assert Verifier.load(device="cpu").name == "bundled"


def test_a_package_without_its_model_says_so_in_one_line(nothing_bundled: Path) -> None:
    with pytest.raises(ModelError) as caught:
        Verifier.load()
    assert str(caught.value) == (
        f"bundled: this installation of siamese came without its model ({nothing_bundled} has no model.json); "
        "install a complete package, or name another model (--model FOLDER, or an encoder)"
    )


def test_a_damaged_one_is_refused_by_name(standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    for name in ("model.json", "model.safetensors"):
        (folder / name).write_bytes((standin / name).read_bytes())
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"?")
    monkeypatch.setattr(bundling, "_FOLDER", folder)
    with pytest.raises(ModelError, match=rf"^{re.escape(str(folder))}/model.safetensors: changed since it was saved"):
        Verifier.load(device="cpu", runtime="torch")


def test_it_has_an_input_size_of_its_own(bundled: Path) -> None:
    with pytest.raises(OptionError, match="--input-size: the model folder bundled has its own; leave the option out"):
        Verifier.load(input_size=(96, 96))


# What is built carries it


CARRIED = {"siamese/bundled/MODEL_CARD.md", "siamese/bundled/model.json", "siamese/bundled/model.safetensors"}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A copy of the project's layout: the model need not be there yet, and the checkout is left as it is."""
    project = tmp_path / "project"
    for package in ("siamese", "cli/siamese_cli"):
        (project / package).mkdir(parents=True)
        (project / package / "__init__.py").write_text("")
    (project / "pyproject.toml").write_bytes((PROJECT / "pyproject.toml").read_bytes())
    for name in ("README.md", "LICENSE"):
        (project / name).write_text("")
    for name in (*CARRIED, "siamese/bundled/.model-half-written.tmp"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x")
    return project


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_built_carries_the_model_and_its_page(kind: str, layout: Path, tmp_path: Path) -> None:
    script = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=layout, capture_output=True, text=True, check=True)
    built = tmp_path / done.stdout.splitlines()[-1]
    if kind == "wheel":
        with zipfile.ZipFile(built) as archive:
            names = set(archive.namelist())
    else:
        with tarfile.open(built) as packed:
            names = {name.partition("/")[2] for name in packed.getnames()}
    assert {name for name in names if name.startswith("siamese/bundled/")} == CARRIED


def shipped() -> Path:
    """The folder of this checkout or installation; skipped as long as it has no weights."""
    folder = Path(str(files("siamese") / "bundled"))
    if not (folder / "model.json").is_file():
        pytest.skip("this checkout has no bundled model yet")
    return folder


def test_what_ships_is_small_sound_in_16_bits_and_has_decisions_and_a_page() -> None:
    folder = shipped()
    assert {path.name for path in folder.iterdir()} == {"MODEL_CARD.md", "model.json", "model.safetensors"}
    assert (folder / "model.safetensors").stat().st_size <= LIMIT
    network, card = load_model(folder)  # holds the hash against the card
    assert {tensor.dtype for name, tensor in load_file(folder / "model.safetensors").items() if tensor.ndim > 1} == {
        np.dtype(np.float16)
    }
    assert card.calibration is not None
    assert {"accuracy", "eer"} <= {point.name for point in card.operating_points}
    assert card.encoder.input_spec.alignment == "arcface-112"
    assert network.embedding_dim == card.embedding_dim
    assert len((folder / "MODEL_CARD.md").read_text(encoding="utf-8")) > 1000
