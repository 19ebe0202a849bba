"""A small stand-in for the real faces, laid out like them: noise instead of faces, a colour for each person."""

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from bundled_recipe.workplace import Workplace

RECIPE = Path(__file__).parents[2] / "recipes" / "bundled"
# The recipe's modules are found as its script finds them: beside it.
sys.path.insert(0, str(RECIPE))

LFW_TRAIN = {f"Train_{number:02d}": 1 + number % 4 for number in range(100)}
LFW_TEST = {f"Test_{number:02d}": 2 for number in range(16)}
PINS = [f"Pin_{number:02d}" for number in range(14)]


def draw(path: Path, seed: int, suffix_format: str | None = None) -> None:
    """An image of noise about a colour; people are told apart by the colour."""
    rng = np.random.default_rng(seed)
    colour = np.random.default_rng(seed // 1000).integers(40, 200, 3)
    pixels = np.clip(colour + rng.normal(0, 25, (112, 112, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format=suffix_format)


def write_protocol(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, people in (("DevTrain", LFW_TRAIN), ("DevTest", LFW_TEST)):
        rows = [f"{person}\t{count}" for person, count in people.items()]
        (folder / f"people{name}.txt").write_text(f"{len(rows)}\n" + "\n".join(rows) + "\n")
        several = [person for person, count in people.items() if count > 1][:16]
        genuine = [f"{person}\t1\t2" for person in several]
        impostor = [f"{one}\t1\t{other}\t2" for one, other in zip(several, [*several[1:], several[0]], strict=True)]
        (folder / f"pairs{name}.txt").write_text("\n".join([str(len(several)), *genuine, *impostor]) + "\n")


@pytest.fixture(scope="session")
def draw_face() -> Callable[..., None]:
    """See `draw`."""
    return draw


@pytest.fixture(scope="session")
def fake_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the recipe asks for in --data; `lfw` holds crops already."""
    root = tmp_path_factory.mktemp("shared") / "data"
    write_protocol(root / "lfw-protocol")
    for number, (person, count) in enumerate({**LFW_TRAIN, **LFW_TEST}.items()):
        for image in range(1, count + 1):
            draw(root / "lfw" / person / f"{person}_{image:04d}.jpg", 1000 * number + image)
    faces = root.parent / "faces-train"
    for number, person in enumerate([*PINS, "Train_01"]):
        for image in range(5):
            draw(faces / "pins" / person / f"{image}.webp", 1000 * (200 + number) + image)
    draw(faces / "glint" / "Glint_One" / "1.webp", 300_000)
    draw(faces / "glint" / "Glint_One" / "2.webp", 300_001)
    rng = np.random.default_rng(0)
    for image in range(120):
        name = f"{rng.integers(1, 90)}_{rng.integers(2)}_{rng.integers(5)}_2017{image:04d}.webp"
        draw(faces / "utk" / name, 1000 * (400 + image))
    with zipfile.ZipFile(root / "faces-train.zip", "w") as archive:
        for path in sorted(faces.rglob("*.webp")):
            archive.write(path, path.relative_to(faces.parent))
    draw(root / "orl" / "s1" / "1.pgm", 7)
    return root


@pytest.fixture(scope="session")
def prepared(fake_data: Path, tmp_path_factory: pytest.TempPathFactory) -> "Workplace":
    """A prepared work folder."""
    from bundled_recipe.prepare import prepare
    from bundled_recipe.workplace import Workplace

    found = Workplace(fake_data, fake_data / "weights", tmp_path_factory.mktemp("prepared") / "work")
    prepare(found, fake_data / "lfw")
    return found
