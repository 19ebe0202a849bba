"""Which files `openvino:` names, and what is said of those that are not what they should be."""

import json
from pathlib import Path

import pytest

from siamese.encoders import create_encoder, openvino_source
from siamese.encoders.openvino_source import OpenVinoFiles, parse_openvino
from siamese.errors import OptionError, WeightsError

RECIPES = Path(__file__).parents[2] / "recipes"
EXAMPLE = (
    '{"size": [112, 112], "channels": "BGR", "mean": [0, 0, 0], "std": [0.00392156862745098, 0.00392156862745098, '
    '0.00392156862745098], "alignment": "arcface-112", "licence": "Apache-2.0"} (mean and std in units of 0 to 1, so '
    "that 0 and 1/255 leave pixels in 0..255; alignment is that of its training: arcface-112, mtcnn-160 or none)"
)


@pytest.mark.parametrize(
    ("name", "xml", "spec"),
    [
        ("a.xml", "a.xml", "a.input.json"),
        ("/b c/a.XML", "/b c/a.XML", "/b c/a.input.json"),
        ("a.xml@s.json", "a.xml", "s.json"),
        ("me@home/a.xml@you@work/s", "me@home/a.xml", "you@work/s"),
        ("x.xml@1/a.xml@s.json", "x.xml@1/a.xml", "s.json"),
        ("x.xml@1/a.xml", "x.xml@1/a.xml", "x.xml@1/a.input.json"),
        ("a.b.xml", "a.b.xml", "a.b.input.json"),
    ],
)
def test_files_of_a_name(name: str, xml: str, spec: str) -> None:
    assert parse_openvino(f"openvino:{name}") == OpenVinoFiles(Path(xml), Path(spec))


def test_constants_lie_beside_the_graph() -> None:
    assert parse_openvino("openvino:/b/a.b.xml@s.json").bin == Path("/b/a.b.bin")


@pytest.mark.parametrize(
    "name", ["openvino:", "openvino:a", "openvino:a.onnx", "openvino:a.xml@", "openvino:a@b.json"]
)
def test_other_forms_are_refused(name: str) -> None:
    with pytest.raises(OptionError) as caught:
        create_encoder(name)
    expected = "expected openvino:PATH.xml or openvino:PATH.xml@SPEC.json"
    assert str(caught.value) == f"encoder {name!r}: {expected}"


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        create_encoder(f"openvino:{tmp_path}/a.xml")
    expected = "no such file; expected the graph (.xml) of an OpenVINO network"
    assert str(caught.value) == f"{tmp_path}/a.xml: {expected}"
    (tmp_path / "b.xml").mkdir()
    with pytest.raises(WeightsError, match=r"b\.xml: is a folder; expected the graph"):
        create_encoder(f"openvino:{tmp_path}/b.xml")


def test_missing_constants_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<?xml version="1.0"?>\n<net name="a" version="11"/>')
    with pytest.raises(WeightsError) as caught:
        create_encoder(f"openvino:{tmp_path}/a.xml")
    expected = "no such file; expected the constants of a.xml, which lie beside it"
    assert str(caught.value) == f"{tmp_path}/a.bin: {expected}"


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"\x08\x07 an onnx model, say")
    with pytest.raises(WeightsError) as caught:
        create_encoder(f"openvino:{tmp_path}/a.xml")
    assert str(caught.value) == (
        f"weights {tmp_path}/a.xml: not a graph of OpenVINO (it starts with b'\\x08\\x07 an onnx m'); expected the "
        ".xml that openvino.save_model or ovc writes"
    )


def test_a_graph_too_large_to_be_one_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.xml").open("wb") as file:
        file.truncate(3 << 30)  # takes no room on the disk
    with pytest.raises(WeightsError) as caught:
        create_encoder(f"openvino:{tmp_path}/a.xml")
    expected = "expected the graph (.xml) of an OpenVINO network, at most 64 MB"
    assert str(caught.value) == f"{tmp_path}/a.xml: 3221 MB; {expected}"


def test_a_missing_description_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        parse_openvino(f"openvino:{tmp_path}/a.xml").read_spec(None)
    expected = f"no such file; expected what a.xml expects of an image, such as {EXAMPLE}"
    assert str(caught.value) == f"{tmp_path}/a.input.json: {expected}"
    with pytest.raises(WeightsError, match=r'such as \{"size": \[128, 96\], '):
        parse_openvino(f"openvino:{tmp_path}/a.xml").read_spec((128, 96))


def test_the_example_is_a_description(tmp_path: Path) -> None:
    (tmp_path / "a.input.json").write_text(EXAMPLE.partition("} (")[0] + "}")
    about = parse_openvino(f"openvino:{tmp_path}/a.xml").read_spec(None)
    assert (about.size, about.channels, about.licence) == ((112, 112), "BGR", "Apache-2.0")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"channels": "BGR"}', "size: Field required"),
        ('{"size": [8, 8], "colour": "BGR"}', "colour: Extra inputs are not permitted"),
        ('{"size": [8, 0]}', "size.1: Input should be greater than or equal to 1"),
        ("size: 8", "the file: Invalid JSON: expected value at line 1 column 1"),
        ('{"size": [8, 8], "std": [1, 1, 0]}', "std.2: Input should be greater than 0"),
    ],
)
def test_a_description_that_does_not_fit_says_where(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(WeightsError) as caught:
        parse_openvino(f"openvino:a.xml@{tmp_path}/s.json").read_spec((112, 112))
    assert str(caught.value) == (
        f"{tmp_path}/s.json: {found}; expected what a.xml expects of an image, such as {EXAMPLE}"
    )


def test_the_recipe_of_the_zoo_leaves_pixels_as_they_are() -> None:
    import numpy as np

    about = json.loads((RECIPES / "face-reidentification-retail-0095.input.json").read_text())
    spec = openvino_source.OpenVinoInput.model_validate(about).input_spec()
    pixels = np.random.default_rng(0).integers(0, 256, (2, *spec.size, 3), np.uint8)
    assert (spec.size, spec.alignment) == ((128, 128), "arcface-112")
    np.testing.assert_array_equal(spec.normalise(pixels), pixels[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
