import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.images.catalog import Catalog, read_catalog, report_left_out, walk_images

Write = Callable[[Path, NDArray[np.uint8]], Path]
DOT = np.full((2, 2, 3), 7, np.uint8)


@pytest.fixture
def album(tmp_path: Path, write_image: Write) -> Callable[..., Path]:
    """A folder with an image at each of the given paths."""

    def make(*paths: str) -> Path:
        for path in paths:
            write_image(tmp_path / "data" / path, DOT)
        return tmp_path / "data"

    return make


def test_the_first_folder_names_the_identity(album: Callable[..., Path]) -> None:
    root = album("zoe/1.png", "ada lovelace/2.jpg", "ada lovelace/1.png", "Ödön/日本/x.PNG")
    catalog = read_catalog(root)
    assert catalog.root == root
    assert catalog.identities == 3
    assert catalog.unreadable == ()
    assert list(catalog.images.columns) == ["path", "identity", "folder"]
    assert catalog.images.to_numpy().tolist() == [
        ["ada lovelace/1.png", "ada lovelace", "."],
        ["ada lovelace/2.jpg", "ada lovelace", "."],
        ["zoe/1.png", "zoe", "."],
        ["Ödön/日本/x.PNG", "Ödön", "日本"],
    ]


def test_deeper_levels_belong_to_the_identity(album: Callable[..., Path]) -> None:
    catalog = read_catalog(album("ada/1.png", "ada/distortion/blur/1.png"))
    assert catalog.images["identity"].tolist() == ["ada", "ada"]
    assert catalog.images["folder"].tolist() == [".", "distortion"]


def test_folders_without_inner_folders_have_no_group_column(album: Callable[..., Path]) -> None:
    catalog = read_catalog(album("ada/1.png", "zoe/1.png"))
    assert list(catalog.images.columns) == ["path", "identity"]
    assert (catalog.layout, catalog.pair_files, catalog.splits) == ("identity folders", (), ())


def test_what_was_recognised_is_said_in_one_line(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="siamese")
    root = album("train/ada/1.png", "train/ada/2.png", "val/zoe/1.png")
    read_catalog(root)
    text = f"{root}: recognised as train/val folders: 3 images of 2 identities (train 2, val 1)"
    assert caplog.messages == [text]


def test_identity_depth_counts_levels(album: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    root = album("greek/alpha/1.png", "greek/beta/1.png", "latin/a/1.png", "latin/loose.png")
    catalog = read_catalog(root, identity_depth=2)
    assert catalog.images["identity"].tolist() == ["greek/alpha", "greek/beta", "latin/a"]
    assert caplog.messages == [f"{root}: 1 images outside an identity folder left out"]


def test_a_hint_when_identities_may_be_one_level_deeper(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    read_catalog(album("greek/alpha/1.png", "greek/beta/1.png", "latin/a/1.png"))
    assert "its 2 identity folders; if the 3 folders below them are the identities, give --identity-depth 2" in (
        caplog.text
    )


def test_no_hint_when_one_image_lies_in_its_identity_folder(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    read_catalog(album("ada/1.png", "ada/blur/1.png", "zoe/blur/1.png"))
    assert caplog.messages == []


def test_hidden_and_other_files_are_passed_over(album: Callable[..., Path]) -> None:
    root = album("ada/1.png", "ada/.hidden.png", ".cache/1.png", "ada/.git/1.png")
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "1.png.part", "jpg", "desktop.ini"):
        (root / "ada" / name).write_text("x")
    assert list(walk_images(root)) == ["ada/1.png"]


def test_a_folder_named_like_an_image_is_a_folder(album: Callable[..., Path]) -> None:
    root = album("ada.jpg/1.png", "ada.jpg/extra.png/2.png")
    assert read_catalog(root).images["path"].tolist() == ["ada.jpg/1.png", "ada.jpg/extra.png/2.png"]


def test_what_cannot_be_an_image_is_left_out_and_named(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = album("ada/1.png", "zoe/1.png")
    (root / "ada" / "empty.jpg").touch()
    (root / "zoe" / "text.jpg").write_text("not an image")
    (root / "zoe" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    catalog = read_catalog(root)
    assert catalog.images["path"].tolist() == ["ada/1.png", "zoe/1.png"]
    assert [path for path, _ in catalog.unreadable] == ["ada/empty.jpg", "zoe/gone.jpg", "zoe/text.jpg"]
    assert catalog.layout == "identity folders"
    reasons = dict(catalog.unreadable)
    assert reasons["ada/empty.jpg"] == f"{root}/ada/empty.jpg: the file is empty (0 bytes); replace it"
    assert reasons["zoe/gone.jpg"] == f"{root}/zoe/gone.jpg: no such file; check the path"
    assert reasons["zoe/text.jpg"].startswith(f"{root}/zoe/text.jpg: not an image in a known format (JPEG, PNG")
    assert caplog.messages == ["3 unreadable images left out:", *(f"  {reason}" for reason in reasons.values())]


def test_without_the_check_nothing_is_opened(album: Callable[..., Path]) -> None:
    root = album("ada/1.png")
    (root / "ada" / "empty.jpg").touch()
    assert read_catalog(root, check=False).images["path"].tolist() == ["ada/1.png", "ada/empty.jpg"]


def test_a_long_list_of_left_out_files_is_shortened(caplog: pytest.LogCaptureFixture) -> None:
    report_left_out(tuple((f"{number}.jpg", f"reason {number}") for number in range(9)), shown=2)
    assert caplog.messages == ["9 unreadable images left out:", "  reason 0", "  reason 1", "  and 7 more"]


def test_one_left_out_file_is_singular_and_none_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    report_left_out(())
    report_left_out((("a.jpg", "reason"),))
    assert caplog.messages == ["1 unreadable image left out:", "  reason"]


def test_reasons_of_one_kind_are_told_once_and_hide_no_other(caplog: pytest.LogCaptureFixture) -> None:
    empty = [(f"ada/{number}.jpg", f"faces/ada/{number}.jpg: the file is empty") for number in range(7)]
    report_left_out(
        (*empty, ("zoe/1.heic", "faces/zoe/1.heic: HEIC"), ("zoe/2.jpg", "faces/zoe/2.jpg: text")), shown=2
    )
    assert caplog.messages == [
        "9 unreadable images left out:",
        "  faces/ada/0.jpg: the file is empty (and 6 more like it)",
        "  faces/zoe/1.heic: HEIC",
        "  and 1 more",
    ]


@pytest.mark.parametrize("suffix", [".heic", ".HEIF"])
def test_a_heic_photograph_is_a_candidate_and_its_reason_named(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    root = album("ada/1.png")
    photograph = root / "ada" / f"IMG_0001{suffix}"
    photograph.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    catalog = read_catalog(root)
    assert catalog.images["path"].tolist() == ["ada/1.png"]
    [(path, reason)] = catalog.unreadable
    assert path == f"ada/IMG_0001{suffix}"
    assert "HEIC" in reason or "damaged" in reason  # with pillow-heif installed it is opened, and has no pixels
    assert caplog.messages == ["1 unreadable image left out:", f"  {photograph}: {reason.partition(': ')[2]}"]


def test_every_file_of_many_is_opened_and_reported_in_order(album: Callable[..., Path]) -> None:
    root = album(*(f"ada/{number:03}.png" for number in range(300)))
    for number in (0, 127, 128, 299):
        (root / f"ada/{number:03}.png").write_bytes(b"")
    catalog = read_catalog(root)
    assert [path for path, _ in catalog.unreadable] == ["ada/000.png", "ada/127.png", "ada/128.png", "ada/299.png"]
    assert len(catalog.images) == 296


def test_a_link_to_itself_is_left_out_and_named(album: Callable[..., Path]) -> None:
    root = album("ada/1.png")
    (root / "ada" / "loop.png").symlink_to("loop.png")
    [(path, reason)] = read_catalog(root).unreadable
    assert path == "ada/loop.png"
    assert "symbolic links" in reason


def test_a_path_longer_than_the_system_takes_is_left_out_and_named(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = album("ada/1.png")
    here = os.open(root / "ada", os.O_RDONLY)
    try:
        for _ in range(25):  # 25 * 200 is more than the 4,096 bytes that Linux takes
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("deep.png", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    except OSError:
        pytest.skip("this file system takes no such path")
    finally:
        os.close(here)
    catalog = read_catalog(root)
    assert catalog.images["path"].tolist() == ["ada/1.png"]
    assert any("folder cannot be read (File name too long), left out" in message for message in caplog.messages)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs the users of a Unix system")
def test_an_image_that_may_not_be_read_is_left_out_and_named(album: Callable[..., Path], tmp_path: Path) -> None:
    root = album("ada/1.png", "ada/2.png")
    (root / "ada" / "2.png").chmod(0)
    if os.geteuid() == 0:  # root may read everything
        pytest.skip("running as root, who may read every file")
    [(path, reason)] = read_catalog(root).unreadable
    assert path == "ada/2.png"
    assert reason == f"{root}/ada/2.png: cannot be read (Permission denied)"


def test_a_name_too_long_for_any_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder or manifest"):
        read_catalog(tmp_path / ("x" * 300))


def test_links_that_lead_back_up_end(album: Callable[..., Path]) -> None:
    root = album("ada/1.png", "zoe/1.png")
    (root / "ada" / "up").symlink_to(root)
    (root / "ada" / "self").symlink_to(root / "ada")
    (root / "ada" / "nothing").symlink_to(root / "ada" / "nothing")
    assert sorted(walk_images(root)) == ["ada/1.png", "zoe/1.png"]


def test_links_between_siblings_end_and_hide_nobody(album: Callable[..., Path]) -> None:
    root = album("ada/1.png", "zoe/1.png")
    (root / "ada" / "friend").symlink_to(root / "zoe")
    (root / "zoe" / "friend").symlink_to(root / "ada")
    assert sorted(walk_images(root)) == ["ada/1.png", "ada/friend/1.png", "zoe/1.png", "zoe/friend/1.png"]


def test_links_to_folders_and_files_elsewhere_are_followed(album: Callable[..., Path], tmp_path: Path) -> None:
    root = album("ada/1.png")
    album("../elsewhere/2.png")
    (root / "zoe").symlink_to(tmp_path / "elsewhere")
    (root / "ada" / "3.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    assert read_catalog(root).images["path"].tolist() == ["ada/1.png", "ada/3.png", "zoe/2.png"]


def test_a_relative_root_gives_the_same_paths(album: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = album("ada/1.png", "ada/deep/er/2.png")
    absolute = sorted(walk_images(root))
    monkeypatch.chdir(root)
    assert sorted(walk_images(Path())) == absolute == ["ada/1.png", "ada/deep/er/2.png"]
    monkeypatch.chdir(root.parent)
    assert sorted(walk_images(Path("data"))) == absolute
    assert sorted(walk_images(Path("data/../data/"))) == absolute


def test_a_name_that_no_text_file_can_hold_is_left_out_with_a_warning(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = album("ada/1.png")
    try:
        (root / "ada" / os.fsdecode(b"\xff.png")).write_bytes((root / "ada" / "1.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such name")
    assert read_catalog(root).images["path"].tolist() == ["ada/1.png"]
    assert caplog.messages == ["'ada/\\udcff.png': the name is not valid UTF-8, left out; rename it"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs the users of a Unix system")
def test_a_folder_that_may_not_be_read_is_warned_of(
    album: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = album("ada/1.png")
    (root / "ada").chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # root may read everything, so be nobody for a moment
            os.seteuid(65534)
        assert list(walk_images(root)) == []
    finally:
        os.seteuid(user)
        (root / "ada").chmod(0o755)
    assert re.search(r"data(/ada)?: the folder cannot be read \(Permission denied\), left out", caplog.text)


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: no such folder or manifest; expected a folder of identity folders$"):
        read_catalog(tmp_path / "none")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": no images below it; expected identity folders with \.avif, .*\.webp$"):
        read_catalog(tmp_path)


def test_loose_images_are_no_identities(album: Callable[..., Path]) -> None:
    root = album("1.png", "2.png")
    message = f"{root}: 2 images but no identity folders; expected {root}/IDENTITY/image.jpg"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read_catalog(root)
    root = album("ada/1.png")
    with pytest.raises(DataError, match="3 images but no folders 2 levels deep"):
        read_catalog(root, identity_depth=2)


def test_only_unreadable_images_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "1.jpg").touch()
    with pytest.raises(DataError, match=r"none of 1 image files can be read; first: .*1\.jpg: the file is empty"):
        read_catalog(tmp_path)


def test_identity_depth_below_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^--identity-depth 0: expected 1 or more$"):
        read_catalog(tmp_path, identity_depth=0)


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet", "my list.CSV"])
def test_a_manifest_is_read_and_sorted(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"path": ["b/2.png", "a/1.png"], "note": [1, 2], "identity": ["zoe", "007"]})
    path = tmp_path / name
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    catalog = read_catalog(path)
    assert catalog.root == tmp_path
    assert catalog.images.to_numpy().tolist() == [["a/1.png", "007", "2"], ["b/2.png", "zoe", "1"]]
    assert list(catalog.images.columns) == ["path", "identity", "note"]
    assert catalog.identities == 2


def test_numbers_name_identities_too(tmp_path: Path) -> None:
    pd.DataFrame({"path": ["a.png"], "identity": [7]}).to_parquet(tmp_path / "m.parquet")
    assert read_catalog(tmp_path / "m.parquet").images["identity"].tolist() == ["7"]


def test_somebody_may_be_called_na(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,identity\na.png,NA\nb.png,None\nc.png,nan\n")
    assert read_catalog(tmp_path / "m.csv").images["identity"].tolist() == ["NA", "None", "nan"]


@pytest.mark.parametrize("row", ["b.png,", ",zoe", "b.png"])
def test_an_empty_field_of_a_manifest_is_named_by_its_row(tmp_path: Path, row: str) -> None:
    (tmp_path / "m.csv").write_text(f"path,identity\na.png,ada\n{row}\n")
    with pytest.raises(DataError, match=r"m\.csv, row 3: empty path or identity$"):
        read_catalog(tmp_path / "m.csv")


def test_a_manifest_without_its_columns_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("photo,identity\na.png,ada\n")
    with pytest.raises(DataError, match=r"m\.csv: no column 'path'; found photo, identity; a manifest has path, ide"):
        read_catalog(tmp_path / "m.csv")


def test_a_manifest_without_rows_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,identity\n")
    with pytest.raises(DataError, match=r"m\.csv: the manifest has no rows$"):
        read_catalog(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe\x80" * 9])
def test_a_file_that_is_no_manifest_is_an_error_of_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_catalog(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "manifest" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repeated_row_counts_once(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,identity\na.png,ada\na.png,ada\n")
    assert len(read_catalog(tmp_path / "m.csv").images) == 1


def test_one_image_of_two_identities_is_a_contradiction(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,identity\nb.png,ada\na.png,ada\na.png,zoe\n")
    with pytest.raises(DataError, match=r"m\.csv: 'a\.png' is listed under the identities 'ada' and 'zoe'; keep the"):
        read_catalog(tmp_path / "m.csv")


def test_a_listing_restricts_the_identities(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("Ada L/1.png", "Zoe/1.png", "12/1.png"))
    (tmp_path / "people.txt").write_text("\ufeffAda L\t3\n\n  12 \r\nNobody\t1\n", encoding="utf-8")
    kept = catalog.restricted_to(tmp_path / "people.txt")
    assert kept.images["path"].tolist() == ["12/1.png", "Ada L/1.png"]
    assert kept.images.index.tolist() == [0, 1]
    assert catalog.identities == 3


def test_a_listing_of_strangers_or_none_at_all_is_an_error(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("ada/1.png"))
    (tmp_path / "people.txt").write_text("bob\neve\n")
    with pytest.raises(DataError, match=r"people\.txt: none of its 2 lines names an identity of .*data$"):
        catalog.restricted_to(tmp_path / "people.txt")
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read as a list of identities \(.*No such file"):
        catalog.restricted_to(tmp_path / "gone.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"binary\.txt: cannot be read as a list of identities"):
        catalog.restricted_to(tmp_path / "binary.txt")


def test_a_split_can_be_taken_alone(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("test/zoe/1.png", "train/ada/1.png", "train/bob/1.png", "val/ada/2.png"))
    assert catalog.splits == ("train", "val", "test")
    train = catalog.of_split("train")
    assert train.images.to_numpy().tolist() == [
        ["train/ada/1.png", "ada", "train"],
        ["train/bob/1.png", "bob", "train"],
    ]
    assert train.images.index.tolist() == [0, 1]
    assert (train.splits, train.layout, train.root) == (("train",), "train/val folders", catalog.root)
    (tmp_path / "people.txt").write_text("ada\n")
    ada = catalog.restricted_to(tmp_path / "people.txt")
    assert (ada.splits, ada.layout) == (("train", "val"), "train/val folders")


def test_a_split_that_is_not_there_is_an_error(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("train/ada/1.png", "val/ada/2.png"))
    with pytest.raises(OptionError, match=r"^unknown split 'tran': did you mean 'train'\? known: train, val$"):
        catalog.of_split("tran")
    (tmp_path / "m.csv").write_text("path,identity\na.png,ada\n")
    with pytest.raises(DataError, match=r": has no splits, so no 'train' \(layout: manifest\)$"):
        read_catalog(tmp_path / "m.csv").of_split("train")


def test_splits_of_a_manifest_keep_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,identity,split\na,x,probe\nb,x,\nc,x,val\nd,x,a-split\ne,x,train\n")
    assert read_catalog(tmp_path / "m.csv").splits == ("train", "val", "a-split", "probe")


def test_a_catalog_is_made_of_three_things(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, pd.DataFrame({"path": ["a"], "identity": ["x"]}), (("b", "reason"),))
    assert (catalog.layout, catalog.pair_files, catalog.splits) == ("identity folders", (), ())


@pytest.mark.real_data
def test_lfw_has_its_documented_people_and_photographs(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    catalog = read_catalog(real_data / "data" / "lfw", check=False)
    assert (len(catalog.images), catalog.identities) == (13_233, 5_749)
    assert catalog.layout == "LFW"
    assert list(catalog.images.columns) == ["path", "identity"]
    counts = catalog.images["identity"].value_counts()
    assert int((counts >= 2).sum()) == 1_680
    people = catalog.restricted_to(real_data / "data" / "lfw-protocol" / "peopleDevTest.txt")
    assert people.identities == 1_711
    assert caplog.messages == []


@pytest.mark.real_data
def test_grey_pgm_faces_are_a_catalog_of_forty(real_data: Path) -> None:
    catalog = read_catalog(real_data / "data" / "orl")
    assert (len(catalog.images), catalog.identities, catalog.unreadable) == (400, 40, ())
