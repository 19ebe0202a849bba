"""The images of a folder as they are embedded and classified: each of them, with whom the catalog says it shows."""

import os
from pathlib import Path

import pytest

from siamese.errors import DataError, ImageError
from siamese.images.catalog import LAYOUTS, read_catalog
from siamese.inference.image_source import list_images

LABELS = {"labels.txt": "2.jpg bob\n1.jpg ada\n"}
# By layout: image files, and texts beside them.
TREES: dict[str, tuple[list[str], dict[str, str]]] = {
    "identity folders": (["zoe/1.png", "ada l/s1/2.jpg", "ada l/1.png", "Ödön/日本/x.PNG", "loose.jpg"], {}),
    "LFW": (["Ada_B/Ada_B_0001.jpg", "Ada_B/Ada_B_0012.jpg", "Zoe/Zoe_0001.jpg"], {"pairs.txt": "10\t300\n"}),
    "train/val folders": (["train/ada/1.jpg", "train/bob/s1/2.jpg", "val/ada/3.jpg", "top.jpg", "val/0.jpg"], {}),
    "classification_data course layout": (
        [
            "classification_data/train_data/n1/1.jpg",
            "classification_data/val_data/n1/3.jpg",
            "classification_data/test_data/0.jpg",
            "verification_data/00001.jpg",
        ],
        {"verification_pairs_val.txt": "verification_data/00001.jpg verification_data/00001.jpg 1\n"},
    ),
    "cls_data course layout": (
        ["cls_data/train/images/1.jpg", "cls_data/val/images/1.jpg", "cls_data/test/images/9.jpg", "ver_data/5.jpg"],
        {"cls_data/train/labels.txt": "images/1.jpg 17\n", "cls_data/val/labels.txt": "1.jpg 4\n"},
    ),
    "labels.txt": (["images/1.jpg", "images/2.jpg", "images/3.jpg"], LABELS),
    "manifest": (["b/1.jpg", "a/2.jpg"], {"m.csv": "path,identity,age\nb/1.jpg,bob,\na/2.jpg,ada,3\n"}),
    "CelebA identity list": (
        ["img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg"],
        {"identity_CelebA.txt": "000002.jpg 2880\n000001.jpg 2937\n"},
    ),
}


def tree(root: Path, layout: str) -> Path:
    """A folder in one of the layouts, or its manifest; the images are empty files."""
    images, texts = TREES[layout]
    for path in images:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    for path, content in texts.items():
        (root / path).write_text(content, encoding="utf-8")
    return root / "m.csv" if layout == "manifest" else root


def test_every_layout_is_looked_at() -> None:
    assert set(TREES) == set(LAYOUTS)


@pytest.mark.parametrize("layout", TREES)
def test_every_image_is_listed_with_the_identity_of_the_catalog(layout: str, tmp_path: Path) -> None:
    data = tree(tmp_path / "data", layout)
    catalog = read_catalog(data, check=False)
    assert catalog.layout == layout
    known = dict(zip(catalog.images["path"], catalog.images["identity"], strict=True))
    table = list_images([data])
    assert table.column_names == ["path", "file", "identity"]
    names = table["path"].to_pylist()
    assert names == sorted(TREES[layout][0])
    assert table["identity"].to_pylist() == [known.get(name) for name in names]
    assert table["file"].to_pylist() == [str(catalog.root / name) for name in names]
    assert all(Path(file).is_file() for file in table["file"].to_pylist())


def test_identities_of_two_levels_are_those_of_the_catalog(tmp_path: Path) -> None:
    data = tree(tmp_path / "data", "train/val folders")
    for depth, expected in [(1, ["bob", "ada"]), (2, ["bob/s1", None])]:
        found = list_images([data], identity_depth=depth).to_pylist()
        by_name = {row["path"]: row["identity"] for row in found}
        assert [by_name["train/bob/s1/2.jpg"], by_name["val/ada/3.jpg"]] == expected
    with pytest.raises(DataError, match="--identity-depth 0: expected 1 or more"):
        list_images([data], identity_depth=0)


def test_several_sources_keep_their_order_and_the_names_they_were_given(tmp_path: Path) -> None:
    folder, manifest = tree(tmp_path / "faces", "LFW"), tree(tmp_path / "listed", "manifest")
    image = folder / "Zoe" / "Zoe_0001.jpg"
    table = list_images([image, manifest, folder])
    assert table["path"].to_pylist() == table["file"].to_pylist()
    assert table["identity"].to_pylist() == [None, "ada", "bob", "Ada_B", "Ada_B", "Zoe"]
    assert table["path"].to_pylist()[:2] == [str(image), str(tmp_path / "listed" / "a" / "2.jpg")]
    assert table["path"].num_chunks == 1


def test_images_that_lie_loose_show_nobody_known(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    assert list_images([tmp_path]).to_pylist() == [
        {"path": "1.jpg", "file": str(tmp_path / "1.jpg"), "identity": None}
    ]


@pytest.mark.skipif(os.name != "posix", reason="names are text elsewhere")
def test_a_name_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    image = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    image.touch()
    with pytest.raises(ImageError, match=r"caf\\udce9\.jpg': the name is not valid UTF-8; rename it"):
        list_images([image])
