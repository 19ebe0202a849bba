"""`siamese export`, as users and scripts run it."""

import shutil
from pathlib import Path

import numpy as np

from siamese.inference.export_manifest import find_export
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.verifier import Verifier

from .conftest import ENCODER, Siamese


def test_a_trained_model_is_exported_into_its_folder_and_checked(
    siamese: Siamese, model: Path, faces: Path, tmp_path: Path
) -> None:
    # A copy: the model itself serves other tests, which would run its export from here on.
    model = Path(shutil.copytree(model, tmp_path / "model"))
    done = siamese("export", model, "--json")
    assert (done.code, done.out.count("\n")) == (0, 1)
    found = done.json
    assert found["output"] == str(model / "export" / "openvino")
    assert (found["format"], found["int8"], found["model"]) == ("openvino", False, str(model))
    assert found["files"] == ["network.bin", "network.xml"]
    first = found["parity"][0]
    assert (first["precision"], first["samples"], first["flipped"]) == ("f32", "validation pairs of the run", 0)
    assert (first["passed"], found["precisions"]["f32"]) == (True, True)
    folder = find_export(model)
    assert folder is not None
    verifier = Verifier.load(model, device="cpu", runtime="torch")
    paths = sorted(faces.glob("person_001/*.jpg"))
    pixels, _ = verifier.prepare(paths)
    vectors = OpenVinoRuntime(folder, "f32").embed(verifier.input_spec.normalise(pixels))
    expected = verifier.embed(paths).vectors
    assert np.ptp(expected, axis=0).max() > 1e-3, "all alike: nothing was compared"
    assert np.abs(vectors - expected).max() < 1e-5


def test_the_check_is_told_in_words(siamese: Siamese, pairs: Path, faces: Path, tmp_path: Path) -> None:
    given = ("--input-size", 32, "--pairs", pairs / "test.csv", "--root", faces)
    done = siamese("export", ENCODER, "-o", tmp_path / "made", *given, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert "checked on test.csv: " in done.out
    assert "similarity difference, largest" in done.out
    assert "decisions at threshold " in done.out
    assert "(best accuracy on these pairs)" in done.out


def test_noise_is_called_noise(siamese: Siamese, tmp_path: Path) -> None:
    done = siamese("export", ENCODER, "-o", tmp_path / "made", "--input-size", 32, "--quiet")
    assert done.code == 0
    assert "checked on synthetic noise: 64 images, 63 pairs" in done.out
    assert "noise shows no decisions; --pairs FILE checks them on images of yours" in done.out


def test_a_mistake_is_one_line(siamese: Siamese, tmp_path: Path) -> None:
    done = siamese("export", ENCODER, "--quiet")
    assert (done.code, done.out) == (2, "")
    assert done.err == (f"siamese: -o: {ENCODER} is no model folder to put the export in; name a folder to write\n")
    done = siamese("export", tmp_path / "nothing", "-o", tmp_path / "made")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []
