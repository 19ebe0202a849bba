"""What a network is shown is the same in training and in use: byte for byte, on torch and on an export without it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from siamese.config import make_train_config
from siamese.images.augment import augmenter
from siamese.images.input_spec import InputSpec
from siamese.inference.export_manifest import read_manifest
from siamese.training.data import read_run_data
from siamese.training.pairs import prepare_pairs
from siamese.training.sources import PixelSource, Views

from .conftest import Siamese
from .without_packages import python_without

TRAINING = ("torch", "facenet_pytorch", "timm", "lightning", "albumentations")
# Run where the packages of training are missing: the pixels that are prepared, and what the network is then given.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from siamese.inference.verifier import Verifier

export, images, found = map(Path, sys.argv[1:])
verifier = Verifier.load(export, device="cpu", runtime="openvino")
given = []
embed = verifier.runtime.embed

def watched(batch):
    given.append(batch.copy())
    return embed(batch)

verifier.runtime.embed = watched
paths = [Path(line) for line in images.read_text(encoding="utf-8").splitlines()]
pixels, outcomes = verifier.prepare(paths)
single = np.concatenate([verifier.prepare([path])[0] for path in paths])
verifier.embed(paths)
status = np.array([outcome.status for outcome in outcomes])
np.savez(found, pixels=pixels, single=single, given=np.concatenate(given), status=status)
"""
PEOPLE = ("Tony_Blair", "Colin_Powell", "Serena_Williams", "Hugo_Chavez")
PHOTOS = 4


@dataclass(frozen=True)
class Shown:
    """What images (N) become.

    Attributes:
        pixels: as prepared, (N, H, W, 3).
        given: to the network, (N, 3, H, W) float32; of usable images alone.
        status: of each image.
    """

    pixels: NDArray[np.uint8]
    given: NDArray[np.float32]
    status: NDArray[np.str_]


def shown_in_training(data: Path, spec: InputSpec, folder: Path) -> tuple[list[str], Shown]:
    """Read a folder as `siamese train` does, twice: decoded, and out of the store that the first time has filled."""
    config = make_train_config({"data": data, "cache": folder / "store", "augment": "none", "val_share": 0.5})
    readings = []
    for number in range(2):
        run = folder / f"run-{number}"
        run.mkdir(parents=True)
        read = read_run_data(config, spec, prepare_pairs(config, kind="pairs", folder=run), "cpu", run)
        status = np.array([outcome.status for outcome in read.cache.outcomes])
        source = PixelSource(read.cache.pixels, spec, augmenter("none"), Views(0, 1))
        given = source.take(np.flatnonzero(status == "ok"), 0).numpy()
        readings.append((read.paths, Shown(np.array(read.cache.pixels[:]), given, status)))
        read.cache.close()
    (paths, first), (again, second) = readings
    assert paths == again
    np.testing.assert_array_equal(first.pixels, second.pixels)
    return paths, first


def shown_in_use(export: Path, paths: list[Path], folder: Path) -> Shown:
    """Prepare and embed images by an export, where nothing of training is installed."""
    program, images, found = folder / "program.py", folder / "images.txt", folder / "found.npz"
    program.write_text(PROGRAM)
    images.write_text("\n".join(map(str, paths)), encoding="utf-8")
    done = python_without(folder / "hidden", TRAINING, program, export, images, found)
    assert done.returncode == 0, done.stderr
    with np.load(found) as kept:
        assert np.array_equal(kept["pixels"], kept["single"]), "an image depends on those prepared with it"
        return Shown(kept["pixels"], kept["given"], kept["status"])


def exported(siamese: Siamese, model: str, size: str | None, folder: Path) -> Path:
    options = ("--input-size", size) if size else ()
    made = siamese("export", model, "-o", folder, *options, "--no-timing", "--quiet")
    assert made.code == 0, made.err
    return folder


def check_same(export: Path, data: Path, folder: Path) -> tuple[list[str], Shown]:
    """Both ways of preparing the images of a folder, held against each other."""
    spec = InputSpec.model_validate(read_manifest(export).input)
    names, expected = shown_in_training(data, spec, folder)
    found = shown_in_use(export, [data / name for name in names], folder)
    assert found.status.tolist() == expected.status.tolist()
    assert found.pixels.tobytes() == expected.pixels.tobytes()
    assert found.given.dtype == np.float32
    assert found.given.tobytes() == expected.given.tobytes()
    usable = found.pixels[found.status == "ok"]
    assert len({image.tobytes() for image in usable}) > 0.9 * len(usable), "pictures that are all alike"
    return names, found


def test_of_rendered_images(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    export = exported(siamese, "timm/test_resnet@random", "40x32", tmp_path / "export")
    names, found = check_same(export, faces, tmp_path)
    assert set(found.status) == {"ok"}
    assert len(names) == len(found.given) > 100


@pytest.fixture(scope="module")
def photographs(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LFW originals, and the same people in the forms that photographs come in."""
    folder = tmp_path_factory.mktemp("photographs") / "mit Umlaut ü"
    for person in PEOPLE:
        originals = sorted((real_data / "data" / "lfw" / person).iterdir())[: PHOTOS + 1]
        (folder / person).mkdir(parents=True)
        for original in originals[:PHOTOS]:
            shutil.copy(original, folder / person)
        with Image.open(originals[PHOTOS]) as image:
            picture = image.convert("RGB")
        turned = Image.Exif()
        turned[0x0112] = 6  # orientation: to be turned right by a quarter
        picture.transpose(Image.Transpose.ROTATE_90).save(folder / person / "turned.jpg", quality=95, exif=turned)
        picture.convert("L").save(folder / person / "grey.png")
        picture.resize((1400, 1400)).save(folder / person / "large.webp", quality=90)
        picture.convert("CMYK").save(folder / person / "inks.jpg", quality=95)
    Image.new("RGB", (200, 200), (90, 120, 90)).save(folder / PEOPLE[0] / "wall.png")
    return folder


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("model", "size"),
    [("mobilefacenet@random", None), ("inception_resnet_v1@random", "80"), ("timm/test_resnet@random", "48")],
)
def test_of_photographs_and_of_aligned_crops(
    siamese: Siamese, photographs: Path, tmp_path: Path, model: str, size: str | None
) -> None:
    aligns = not model.startswith("timm")
    export = exported(siamese, model, size, tmp_path / "export")
    names, found = check_same(export, photographs, tmp_path / "raw")
    missing = [name for name, status in zip(names, found.status, strict=True) if status != "ok"]
    assert missing == ([f"{PEOPLE[0]}/wall.png"] if aligns and f"{PEOPLE[0]}/wall.png" in names else [])
    if not aligns:
        return
    template = "arcface-112" if model.startswith("mobilefacenet") else "mtcnn-160"
    aligned = siamese("align", photographs, tmp_path / "crops", "--template", template, "--quiet")
    assert aligned.code == 0, aligned.err
    crops, again = check_same(export, tmp_path / "crops", tmp_path / "aligned")
    # A crop that lost nothing when it was written is what the network saw of its photograph.
    lossless = [name for name in crops if name.endswith(".png")]
    assert len(lossless) == len(PEOPLE)
    for name in lossless:
        np.testing.assert_array_equal(again.pixels[crops.index(name)], found.pixels[names.index(name)])
