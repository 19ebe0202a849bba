import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from siamese.errors import DataError
from siamese.images.catalog import LAYOUTS, Catalog, read_catalog

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A folder with an (empty) image at each of the given paths, and text files given by keyword-like pairs."""

    def make(*paths: str, texts: dict[str, str] | None = None, name: str = "data") -> Path:
        root = tmp_path / name
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        for path, text in (texts or {}).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return root

    return make


def read(root: Path, **options: int) -> Catalog:
    catalog = read_catalog(root, check=False, **options)  # type: ignore[arg-type]
    assert catalog.layout in LAYOUTS
    assert catalog.images["path"].is_monotonic_increasing
    assert catalog.images.index.tolist() == list(range(len(catalog.images)))
    return catalog


def rows(catalog: Catalog) -> list[list[str]]:
    return [list(map(str, row)) for row in catalog.images.to_numpy().tolist()]


def test_lfw_is_recognised_with_its_pair_lists(tree: Tree) -> None:
    root = tree("Ada_B/Ada_B_0001.jpg", "Ada_B/Ada_B_0012.jpg", "Zoe/Zoe_0001.jpg", texts={"pairs.txt": "10\t300\n"})
    (root.parent / "pairsDevTest.txt").touch()
    catalog = read(root)
    assert catalog.layout == "LFW"
    assert catalog.pair_files == (root / "pairs.txt", root.parent / "pairsDevTest.txt")
    assert rows(catalog)[0] == ["Ada_B/Ada_B_0001.jpg", "Ada_B"]


@pytest.mark.parametrize("odd", ["Zoe/Zoe_001.jpg", "Zoe/Ada_0001.jpg", "Zoe/x/Zoe_0001.jpg", "Zoe/xZoe_0001.jpg"])
def test_one_image_named_otherwise_makes_identity_folders(tree: Tree, odd: str) -> None:
    assert read(tree("Ada/Ada_0001.jpg", odd)).layout == "identity folders"


def test_split_folders_give_the_split_and_the_next_level_the_identity(tree: Tree) -> None:
    catalog = read(tree("train/ada/1.jpg", "train/bob/s1/2.jpg", "val/ada/3.jpg", "test/zoe/4.jpg"))
    assert catalog.layout == "train/val folders"
    assert list(catalog.images.columns) == ["path", "identity", "split", "folder"]
    assert rows(catalog) == [
        ["test/zoe/4.jpg", "zoe", "test", "."],
        ["train/ada/1.jpg", "ada", "train", "."],
        ["train/bob/s1/2.jpg", "bob", "train", "s1"],
        ["val/ada/3.jpg", "ada", "val", "."],
    ]
    assert catalog.identities == 3


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["TRAIN", "Valid"], ["train", "val"]),
        (["train_data", "dev_data", "test_data"], ["train", "val", "test"]),
        (["train", "validation", "eval"], ["train", "val", "test"]),
        (["train", "eval"], ["train", "val"]),
        (["train", "eval", "test"], ["train", "val", "test"]),
        (["train"], ["train"]),
    ],
)
def test_names_of_splits_are_normalised(tree: Tree, names: list[str], splits: list[str]) -> None:
    catalog = read(tree(*(f"{name}/ada/1.jpg" for name in names)))
    assert catalog.layout == "train/val folders"
    assert dict(zip(catalog.images["path"], catalog.images["split"], strict=True)) == {
        f"{name}/ada/1.jpg": split for name, split in zip(names, splits, strict=True)
    }


def test_identity_depth_counts_below_the_split(tree: Tree) -> None:
    root = tree("train/greek/alpha/1.png", "val/latin/a/1.png")
    assert read(root, identity_depth=2).images["identity"].tolist() == ["greek/alpha", "latin/a"]
    with pytest.raises(
        DataError, match=r"2 images but no folders 3 levels deep below its split folders; --identity-d"
    ):
        read(root, identity_depth=3)


def test_the_hint_on_depth_counts_below_the_split(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    root = tree("train/greek/alpha/1.png", "train/greek/beta/1.png", "val/latin/a/1.png")
    assert read(root).images["folder"].tolist() == ["alpha", "beta", "a"]
    assert "its 2 identity folders; if the 3 folders below them are the identities, give --identity-depth 2" in (
        caplog.text
    )


@pytest.mark.parametrize("person", ["train", "test", "Val", "dev_data"])
def test_a_person_may_be_called_like_a_split(tree: Tree, person: str) -> None:
    catalog = read(tree("ada/1.jpg", f"{person}/1.jpg", f"{person}/blur/2.jpg"))
    assert catalog.layout == "identity folders"
    assert set(catalog.images["identity"]) == {"ada", person}


def test_folders_called_like_splits_that_hold_images_alone_are_identities(tree: Tree) -> None:
    catalog = read(tree("train/1.jpg", "train/2.jpg", "train/blur/1.jpg", "test/1.jpg"))
    assert (catalog.layout, sorted(set(catalog.images["identity"]))) == ("identity folders", ["test", "train"])


def test_folders_without_images_do_not_hide_splits(tree: Tree) -> None:
    root = tree("train/ada/1.jpg", "val/bob/1.jpg", texts={"docs/readme.md": "x", "runs/log.txt": "x"})
    assert read(root).layout == "train/val folders"


def test_loose_images_of_splits_are_left_out_and_counted(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    root = tree("train/ada/1.jpg", "train/ada/2.jpg", "train/loose.jpg", "test/0.jpg", "test/1.jpg", "top.jpg")
    assert read(root).images["path"].tolist() == ["train/ada/1.jpg", "train/ada/2.jpg"]
    assert caplog.messages == [
        f"{root}/test: 2 images whose identity is not known left out",
        f"{root}: 2 images outside an identity folder left out",
    ]


COURSE = (
    *("classification_data/train_data/n001/1.jpg", "classification_data/train_data/n001/2.jpg"),
    *("classification_data/val_data/n001/3.jpg", "classification_data/test_data/0.jpg"),
    *("verification_data/00001.jpg", "verification_data/00002.jpg"),
)
COURSE_TEXTS = {
    "verification_pairs_val.txt": "verification_data/00001.jpg verification_data/00002.jpg 1\n",
    "verification_pairs_test.csv": "x\n",
    "classification_sample_submission.csv": "x\n",
    "README.txt": "x\n",
}


def test_the_course_layout_with_folders_of_identities(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(*COURSE, texts=COURSE_TEXTS)
    catalog = read(root)
    assert (catalog.layout, catalog.root) == ("classification_data course layout", root)
    assert rows(catalog) == [
        ["classification_data/train_data/n001/1.jpg", "n001", "train"],
        ["classification_data/train_data/n001/2.jpg", "n001", "train"],
        ["classification_data/val_data/n001/3.jpg", "n001", "val"],
    ]
    assert catalog.pair_files == (root / "verification_pairs_test.csv", root / "verification_pairs_val.txt")
    assert caplog.messages == [f"{root}/classification_data/test_data: 1 images whose identity is not known left out"]


def test_the_course_layout_is_the_same_from_inside(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(*COURSE, texts=COURSE_TEXTS)
    inside = read(root / "classification_data")
    outside = read(root)
    assert inside.layout == outside.layout
    assert inside.pair_files == outside.pair_files
    assert ("classification_data/" + inside.images["path"]).tolist() == outside.images["path"].tolist()
    monkeypatch.chdir(root / "classification_data")
    assert [path.name for path in read(Path()).pair_files] == [path.name for path in outside.pair_files]


def test_other_images_beside_a_course_are_left_out_and_counted(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="siamese")
    root = tree(*COURSE, "samples/1.jpg", "logo.png")
    assert len(read(root).images) == 3
    assert f"{root}: 2 images outside classification_data left out" in caplog.messages
    assert "verification_data: 2 images are for the pair lists; their identities are not known" in caplog.messages


CLS = (
    *("cls_data/train/images/1.jpg", "cls_data/train/images/a b.jpg", "cls_data/val/images/1.jpg"),
    *("cls_data/test/images/9.jpg", "ver_data/images/5.jpg"),
)
CLS_TEXTS = {
    "cls_data/train/labels.txt": "images/1.jpg 17\nimages/a b.jpg\t4\n",
    "cls_data/val/labels.txt": "1.jpg 17\n",
    "ver_data/val_pairs.txt": "images/5.jpg images/5.jpg 1\n",
    "ver_data/test_pairs.txt": "images/5.jpg images/5.jpg\n",
}


@pytest.mark.parametrize("labels_of_test", [None, "9.jpg\n", "images/9.jpg\n\n"])
def test_the_course_layout_with_lists_of_labels(
    tree: Tree, caplog: pytest.LogCaptureFixture, labels_of_test: str | None
) -> None:
    texts = CLS_TEXTS | ({} if labels_of_test is None else {"cls_data/test/labels.txt": labels_of_test})
    root = tree(*CLS, texts=texts)
    catalog = read(root)
    assert catalog.layout == "cls_data course layout"
    assert rows(catalog) == [
        ["cls_data/train/images/1.jpg", "17", "train"],
        ["cls_data/train/images/a b.jpg", "4", "train"],
        ["cls_data/val/images/1.jpg", "17", "val"],
    ]
    assert catalog.pair_files == (root / "ver_data/test_pairs.txt", root / "ver_data/val_pairs.txt")
    assert caplog.messages == [f"{root}/cls_data/test: 1 images whose identity is not known left out"]
    inside = read(root / "cls_data")
    assert (inside.layout, inside.pair_files) == (catalog.layout, catalog.pair_files)
    assert ("cls_data/" + inside.images["path"]).tolist() == catalog.images["path"].tolist()


def test_labels_serve_any_split_folders(tree: Tree) -> None:
    root = tree("train/images/1.jpg", "train/2.jpg", texts={"train/labels.txt": "train/images/1.jpg a\n2.jpg b\n"})
    catalog = read(root)
    assert catalog.layout == "train/val folders"
    assert rows(catalog) == [["train/2.jpg", "b", "train"], ["train/images/1.jpg", "a", "train"]]


def test_labels_and_images_that_do_not_meet_are_counted(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    texts = {"train/labels.txt": "gone.jpg 1\n1.jpg 1\nmissing.jpg 2\n"}
    root = tree("train/images/1.jpg", "train/images/2.jpg", texts=texts)
    assert rows(read(root)) == [["train/images/1.jpg", "1", "train"]]
    assert caplog.messages == [
        f"{root}/train/labels.txt: 2 paths name no image, the first is 'gone.jpg'",
        f"{root}/train: 1 images have no label, left out",
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("1.jpg 1\n2.jpg\n", "line 2: no label after '2.jpg'; expected PATH LABEL"),
        ("gone.jpg 1\n", ": none of its 1 paths is an image beside it; the first is 'gone.jpg'"),
        (
            "1.jpg 1\nimages/1.jpg 2\n",
            "is listed under the identities '1' and '2'; keep the right one (lines 1 and 2)",
        ),
        ("1.jpg\n2.jpg\n", ": holds no labels; expected lines of PATH LABEL"),
        ("", ": is empty; expected a manifest"),
    ],
)
def test_wrong_labels_are_errors_that_name_the_file(tree: Tree, labels: str, message: str) -> None:
    root = tree("train/images/1.jpg", "train/images/2.jpg", texts={"train/labels.txt": labels})
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read(root)
    assert str(caught.value).startswith(f"{root}/train/labels.txt")


@pytest.mark.parametrize("where", ["images/", ""])
def test_one_folder_of_images_with_a_list_of_labels(tree: Tree, where: str) -> None:
    root = tree(f"{where}1.jpg", f"{where}2.jpg", texts={"labels.txt": "2.jpg bob\n1.jpg ada\n"})
    catalog = read(root)
    assert catalog.layout == "labels.txt"
    assert rows(catalog) == [[f"{where}1.jpg", "ada"], [f"{where}2.jpg", "bob"]]


def test_a_list_of_class_names_beside_identity_folders_means_nothing(tree: Tree) -> None:
    catalog = read(tree("ada/1.jpg", "bob/1.jpg", texts={"labels.txt": "ada\nbob\n"}))
    assert (catalog.layout, catalog.identities) == ("identity folders", 2)


def test_a_folder_called_images_is_one_identity_and_warned_of(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    root = tree("images/1.jpg", "images/2.jpg")
    assert set(read(root).images["identity"]) == {"images"}
    assert caplog.messages == [
        f"{root}: its only identity is 'images'; if the images show several, give labels.txt (lines of PATH LABEL) "
        "beside them, or a manifest"
    ]
    caplog.clear()
    assert read(tree("ada/1.jpg")).identities == 2
    assert caplog.messages == []


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": no images below it; expected identity folders with \.avif, "):
        read(tmp_path)


CELEBA = "000001.jpg 2880\n000002.jpg 2937\n"


@pytest.mark.parametrize("listing", ["identity_CelebA.txt", "Anno/identity_CelebA.txt"])
@pytest.mark.parametrize("images", ["img_align_celeba", "img_celeba", "Img/img_align_celeba"])
def test_celeba_finds_its_photographs(tree: Tree, listing: str, images: str) -> None:
    root = tree(f"{images}/000001.jpg", f"{images}/000002.jpg", texts={listing: CELEBA})
    for data in (root, root / listing):
        catalog = read(data)
        assert (catalog.layout, catalog.root) == ("CelebA identity list", root)
        assert rows(catalog) == [[f"{images}/000001.jpg", "2880"], [f"{images}/000002.jpg", "2937"]]
        assert all((catalog.root / path).is_file() for path in catalog.images["path"])


def test_celeba_beside_its_photographs_or_without_them_is_as_listed(tree: Tree) -> None:
    root = tree(texts={"identity_CelebA.txt": CELEBA})
    assert read(root).images["path"].tolist() == ["000001.jpg", "000002.jpg"]
    tree("000001.jpg", "img_celeba/000001.jpg")
    catalog = read(root / "identity_CelebA.txt")
    assert (catalog.root, catalog.images["path"].tolist()) == (root, ["000001.jpg", "000002.jpg"])


def test_every_layout_of_a_folder_can_be_moved(tree: Tree, tmp_path: Path) -> None:
    """Recognition looks at structure below DATA, never at where DATA lies."""
    tree(*COURSE, texts=COURSE_TEXTS)
    before = read(tmp_path / "data").images
    (tmp_path / "data").rename(tmp_path / "train")
    after = read(tmp_path / "train").images
    assert before.equals(after)
