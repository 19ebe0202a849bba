import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.images.catalog import Catalog, read_catalog
from siamese.images.flat_names import flat_paths, safe_name
from siamese.images.manifest import read_manifest
from siamese.images.materialise import How, materialise

Write = Callable[[Path, NDArray[np.uint8]], Path]
WAYS = get_args(How)


@pytest.fixture
def album(tmp_path: Path, write_image: Write) -> Callable[..., Path]:
    """A folder with an image at each path, no two of them alike."""

    def make(*paths: str, name: str = "data") -> Path:
        for number, path in enumerate(paths):
            write_image(tmp_path / name / path, np.full((2, 2, 3), number, np.uint8))
        return tmp_path / name

    return make


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and mode of every file below a folder, leftovers and records included."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.lstat().st_mode) for path in files}


def originals(catalog: Catalog, written: Catalog) -> dict[str, str]:
    """New path to old path, by the bytes of the files alone."""
    by_bytes = {(catalog.root / path).read_bytes(): path for path in catalog.images["path"]}
    return {path: by_bytes[(written.root / path).read_bytes()] for path in written.images["path"]}


NESTED = ("anna/1.png", "anna/distortion/1.png", "anna/distortion/blur/1.png", "ben/distortion_1.png", "ben/2.PNG")


@pytest.mark.parametrize("how", WAYS)
def test_a_nested_catalog_becomes_flat(album: Callable[..., Path], tmp_path: Path, how: How) -> None:
    catalog = read_catalog(album(*NESTED))
    before = contents(catalog.root)
    written = materialise(catalog, tmp_path / "out", how=how)
    assert originals(catalog, written) == {
        "anna/1.png": "anna/1.png",
        "anna/distortion_1.png": "anna/distortion/1.png",
        "anna/distortion_blur_1.png": "anna/distortion/blur/1.png",
        "ben/2.PNG": "ben/2.PNG",
        "ben/distortion_1.png": "ben/distortion_1.png",
    }
    assert written.root == tmp_path / "out"
    assert (written.layout, written.unreadable) == ("identity folders", ())
    assert list(written.images.columns) == ["path", "identity", "folder"]
    assert written.images["folder"].tolist() == [".", "distortion", "distortion", ".", "."]
    assert contents(catalog.root) == before
    again = read_catalog(tmp_path / "out")
    assert again.images[["path", "identity"]].equals(written.images[["path", "identity"]])


@pytest.mark.parametrize("how", WAYS)
def test_files_are_what_was_asked_for(album: Callable[..., Path], tmp_path: Path, how: How) -> None:
    root = album("anna/1.png")
    os.utime(root / "anna/1.png", (1e9, 1e9))
    materialise(read_catalog(root), tmp_path / "out", how=how)
    source, target = root / "anna/1.png", tmp_path / "out/anna/1.png"
    assert target.is_symlink() == (how == "symlink")
    assert target.samefile(source) == (how != "copy")
    assert target.stat().st_mtime == 1e9
    if how == "symlink":
        assert os.readlink(target) == str(source)  # noqa: PTH115


def test_the_record_is_a_manifest_of_what_came_from_where(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("train/anna/s1/1.png", "val/anna/1.png", "val/ben/1.png"))
    written = materialise(catalog, tmp_path / "out", how="copy")
    record = read_manifest(tmp_path / "out" / "materialised.csv").images
    assert list(record.columns) == ["path", "identity", "original_path", "split", "folder"]
    assert record.to_numpy().tolist() == [
        ["anna/1.png", "anna", "val/anna/1.png", "val", "."],
        ["anna/s1_1.png", "anna", "train/anna/s1/1.png", "train", "s1"],
        ["ben/1.png", "ben", "val/ben/1.png", "val", "."],
    ]
    assert dict(zip(record["path"], record["original_path"], strict=True)) == originals(catalog, written)
    assert record.drop(columns="original_path").equals(written.images)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["anna", "ben", "materialised.csv"]


def test_names_that_collide_are_numbered_alike_each_time(album: Callable[..., Path], tmp_path: Path) -> None:
    root = album("anna/a/b.png", "anna/a_b.png", "anna/a_b-2.png", "anna/A_B.PNG", "Anna/1.png")
    catalog = read_catalog(root)
    first = materialise(catalog, tmp_path / "one", how="copy")
    second = materialise(catalog, tmp_path / "two", how="copy")
    assert originals(catalog, first) == originals(catalog, second)
    folded = [path.casefold() for path in first.images["path"]]
    assert len(set(folded)) == len(folded) == 5
    assert originals(catalog, first)["Anna/1.png"] == "Anna/1.png"
    assert set(first.images["identity"]) == {"Anna", "anna"}
    assert {path.partition("/")[0] for path in first.images["path"]} == {"Anna", "anna-2"}


def test_the_lists_of_a_course_become_identity_folders(album: Callable[..., Path], tmp_path: Path) -> None:
    root = album("cls_data/train/images/1.png", "cls_data/train/images/2.png", "cls_data/val/images/1.png")
    (root / "cls_data/train/labels.txt").write_text("1.png 17\n2.png 4\n")
    (root / "cls_data/val/labels.txt").write_text("1.png 17\n")
    catalog = read_catalog(root)
    written = materialise(catalog, tmp_path / "out", how="symlink")
    assert originals(catalog, written) == {
        "17/1-2.png": "cls_data/val/images/1.png",
        "17/1.png": "cls_data/train/images/1.png",
        "4/2.png": "cls_data/train/images/2.png",
    }
    assert written.images["split"].tolist() == ["val", "train", "train"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("anna", "anna"),
        ("Ödön 日本", "Ödön 日本"),
        ("a/b", "a_b"),
        ("a\\b:c", "a_b_c"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("   ", "_"),
        (".hidden", "_hidden"),
        ("../../etc", "__.._etc"),
        ("/", "_"),
        ("a\0b\n", "a_b_"),
        ("dot.", "dot"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_long_names_are_cut_to_different_ones() -> None:
    names = [safe_name("é" * 300 + end) for end in ("a.jpg", "b.jpg", "b")]
    assert len(set(names)) == 3
    assert all(len(name.encode()) <= 200 for name in names)
    assert [Path(name).suffix for name in names] == [".jpg", ".jpg", ""]


def test_any_names_become_safe_and_unique_paths() -> None:
    rng = np.random.default_rng(0)
    letters = np.array([*"aAbéE/. -_\\:\0", "e\u0301", "..", "-2"])
    texts = ["".join(rng.choice(letters, rng.integers(0, 5))) for _ in range(3000)]
    images = pd.DataFrame({"path": [f"{text}.png" for text in texts[:1500]], "identity": texts[1500:]})
    paths = flat_paths(images)
    assert paths.tolist() == flat_paths(images).tolist()
    assert paths.str.casefold().is_unique
    parts = paths.str.split("/")
    assert (parts.str.len() == 2).all()
    for part in (parts.str[0], parts.str[1]):
        assert not part.str.startswith(".").any()
        assert (part.str.len() > 0).all()
    folders = pd.DataFrame({"identity": images["identity"], "folder": parts.str[0].str.casefold()}).drop_duplicates()
    assert folders["identity"].is_unique
    assert folders["folder"].is_unique


def test_unsafe_identities_of_a_manifest_stay_in_the_folder(album: Callable[..., Path], tmp_path: Path) -> None:
    root = album("photos/1.png", "photos/2.png", "photos/3.png", "photos/4.png")
    names = ["../evil", "a/b", "a_b", ".."]
    lines = [f"photos/{number}.png,{name}" for number, name in enumerate(names, 1)]
    (root / "m.csv").write_text("\n".join(["path,identity", *lines]))
    catalog = read_catalog(root / "m.csv")
    written = materialise(catalog, tmp_path / "deep" / "out", how="copy")
    assert originals(catalog, written) == {
        "_/4.png": "photos/4.png",
        "__evil/1.png": "photos/1.png",
        "a_b-2/3.png": "photos/3.png",
        "a_b/2.png": "photos/2.png",
    }
    assert sorted(written.images["identity"]) == sorted(names)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["out"]


@pytest.mark.parametrize("how", WAYS)
def test_a_second_call_leaves_what_is_complete(album: Callable[..., Path], tmp_path: Path, how: How) -> None:
    catalog = read_catalog(album(*NESTED))
    first = materialise(catalog, tmp_path / "out", how=how)
    stamps = {path: (tmp_path / "out" / path).lstat() for path in first.images["path"]}
    (tmp_path / "out/anna/1.png").unlink()
    if how == "copy":
        (tmp_path / "out/ben/2.PNG").write_bytes(b"half")
    second = materialise(catalog, tmp_path / "out", how=how)
    assert second.images.equals(first.images)
    assert len(originals(catalog, second)) == 5
    same = [path for path, old in stamps.items() if (tmp_path / "out" / path).lstat().st_ino == old.st_ino]
    assert set(same) >= {"anna/distortion_1.png", "anna/distortion_blur_1.png", "ben/distortion_1.png"}


@pytest.mark.parametrize("before", WAYS)
@pytest.mark.parametrize("after", WAYS)
def test_another_way_replaces_the_files_and_not_the_originals(
    album: Callable[..., Path], tmp_path: Path, before: How, after: How
) -> None:
    catalog = read_catalog(album("anna/1.png", "anna/x/2.png"))
    kept = contents(catalog.root)
    materialise(catalog, tmp_path / "out", how=before)
    materialise(catalog, tmp_path / "out", how=after)
    target = tmp_path / "out/anna/x_2.png"
    assert target.is_symlink() == (after == "symlink")
    assert target.samefile(catalog.root / "anna/x/2.png") == (after != "copy")
    assert contents(catalog.root) == kept
    assert sorted(path.name for path in (tmp_path / "out/anna").iterdir()) == ["1.png", "x_2.png"]


def test_a_changed_original_is_copied_again(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("anna/1.png", "anna/2.png"))
    materialise(catalog, tmp_path / "out", how="copy")
    shutil.copyfile(catalog.root / "anna/2.png", catalog.root / "anna/1.png")
    os.utime(catalog.root / "anna/1.png", (1e9, 1e9))
    materialise(catalog, tmp_path / "out", how="copy")
    assert (tmp_path / "out/anna/1.png").read_bytes() == (catalog.root / "anna/2.png").read_bytes()


def test_images_added_later_join_the_others(album: Callable[..., Path], tmp_path: Path) -> None:
    materialise(read_catalog(album("anna/1.png")), tmp_path / "out", how="copy")
    written = materialise(read_catalog(album("anna/1.png", "ben/1.png")), tmp_path / "out", how="copy")
    assert written.images["path"].tolist() == ["anna/1.png", "ben/1.png"]


def test_a_link_is_copied_as_what_it_leads_to(album: Callable[..., Path], tmp_path: Path) -> None:
    root = album("anna/1.png")
    (root / "anna" / "2.png").symlink_to("1.png")
    for how in ("copy", "hardlink"):
        materialise(read_catalog(root), tmp_path / how, how=how)
        assert not (tmp_path / how / "anna/2.png").is_symlink()
        assert (tmp_path / how / "anna/2.png").read_bytes() == (root / "anna/1.png").read_bytes()


def test_a_relative_root_gives_links_that_lead_somewhere(
    album: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album("anna/1.png")
    monkeypatch.chdir(tmp_path)
    materialise(read_catalog(Path("data")), Path("deep/er/out"), how="symlink")
    assert (tmp_path / "deep/er/out/anna/1.png").read_bytes() == (tmp_path / "data/anna/1.png").read_bytes()


@pytest.mark.parametrize("below", ["", "flat", "anna/flat", "../data/flat"])
def test_a_target_among_the_images_is_refused(album: Callable[..., Path], below: str) -> None:
    catalog = read_catalog(album("anna/1.png"))
    before = contents(catalog.root)
    with pytest.raises(DataError, match=r": lies inside the images of .*data; give a folder outside$"):
        materialise(catalog, catalog.root / below, how="copy")
    assert contents(catalog.root) == before
    link = catalog.root.parent / "link"
    link.symlink_to(catalog.root)
    with pytest.raises(DataError, match="lies inside the images"):
        materialise(catalog, link / "flat", how="copy")


def test_a_manifest_may_lie_above_the_target_but_its_images_not(album: Callable[..., Path]) -> None:
    root = album("photos/1.png")
    (root / "m.csv").write_text("path,identity\nphotos/1.png,anna\n")
    catalog = read_catalog(root / "m.csv")
    with pytest.raises(DataError, match=r"photos: holds images of the catalog itself; give another folder$"):
        materialise(catalog, root / "photos", how="copy")
    assert materialise(catalog, root / "flat", how="copy").images["path"].tolist() == ["anna/1.png"]


def test_a_foreign_folder_is_refused_and_untouched(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("anna/1.png"))
    (tmp_path / "out" / "anna").mkdir(parents=True)
    (tmp_path / "out" / "anna" / "1.png").write_text("mine")
    with pytest.raises(
        DataError, match=r"out: is not empty and was not written by --materialize; give a new or an em"
    ):
        materialise(catalog, tmp_path / "out", how="copy")
    assert list(contents(tmp_path / "out")) == ["anna/1.png"]
    assert (tmp_path / "out" / "anna" / "1.png").read_text() == "mine"
    with pytest.raises(DataError, match=r"1\.png: is a file, expected a folder to write images to$"):
        materialise(catalog, tmp_path / "out" / "anna" / "1.png", how="copy")


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(album: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"xxx: cannot be written to \(File name too long\); give another folder$"):
        materialise(read_catalog(album("anna/1.png")), tmp_path / ("x" * 300), how="copy")


def test_a_stranger_in_our_folder_is_named(album: Callable[..., Path], tmp_path: Path) -> None:
    catalog = read_catalog(album("anna/1.png"))
    materialise(catalog, tmp_path / "out", how="copy")
    (tmp_path / "out" / "anna" / "zzz.png").touch()
    message = (
        r"out: holds 1 files that are not of this catalog, the first is 'anna/zzz\.png'; remove them or give a new"
    )
    with pytest.raises(DataError, match=message):
        materialise(catalog, tmp_path / "out", how="copy")


def test_an_empty_folder_will_do(album: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert len(materialise(read_catalog(album("anna/1.png")), tmp_path / "out", how="copy").images) == 1


def test_an_unknown_way_lists_the_known_ones(album: Callable[..., Path], tmp_path: Path) -> None:
    how: Any = "simlink"
    with pytest.raises(
        OptionError, match=r"^unknown way to materialise 'simlink': did you mean 'symlink'\? known: copy"
    ):
        materialise(read_catalog(album("anna/1.png")), tmp_path / "out", how=how)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", WAYS)
def test_images_that_are_gone_are_left_out_and_named(
    album: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, how: How
) -> None:
    root = album("photos/1.png")
    (root / "m.csv").write_text("path,identity\nphotos/1.png,anna\nphotos/gone.png,anna\nphotos,ben\n")
    written = materialise(read_catalog(root / "m.csv"), tmp_path / "out", how=how)
    assert written.images.to_numpy().tolist() == [["anna/1.png", "anna"]]
    assert written.unreadable == (
        ("photos", f"{root}/photos: is no file, expected an image"),
        ("photos/gone.png", f"{root}/photos/gone.png: no such file; check the path"),
    )
    assert caplog.messages[0] == "2 unreadable images left out:"
    assert read_manifest(tmp_path / "out/materialised.csv").images["path"].tolist() == ["anna/1.png"]


def test_no_image_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,identity\n1.png,anna\n")
    with pytest.raises(DataError, match=r"out: none of 1 images can be found; first: .*1\.png: no such file; check"):
        materialise(read_catalog(tmp_path / "m.csv"), tmp_path / "out", how="copy")


@pytest.mark.parametrize(
    ("code", "how", "message"),
    [
        (errno.ENOSPC, "copy", "anna/2.png: the disk is full; free space and run again: what is written stays"),
        (errno.EPERM, "symlink", "anna/2.png: no symlink can be made here (Operation not permitted); copy instead"),
        (errno.EROFS, "copy", "anna/2.png: cannot be written (Read-only file system); give another folder"),
    ],
)
def test_a_failing_system_gives_one_clear_error(
    album: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, how: How, message: str
) -> None:
    """No test can fill a disk; what the system would say is said in its place, at the second image."""
    catalog = read_catalog(album("anna/1.png", "anna/2.png"))
    module, name = (shutil, "copyfile") if how == "copy" else (os, "symlink")
    real = getattr(module, name)

    def failing(source: str, target: Path) -> None:
        if source.endswith("2.png"):
            raise OSError(code, os.strerror(code), source, None, str(target))
        real(source, target)

    monkeypatch.setattr(module, name, failing)
    with pytest.raises(DataError) as caught:
        materialise(catalog, tmp_path / "out", how=how)
    assert str(caught.value) == f"{tmp_path}/out/{message}"
    assert sorted(path.name for path in (tmp_path / "out/anna").iterdir()) == ["1.png"]
    monkeypatch.undo()
    assert len(originals(catalog, materialise(catalog, tmp_path / "out", how=how))) == 2


def test_a_hard_link_to_another_device_is_refused_in_one_line(album: Callable[..., Path]) -> None:
    catalog = read_catalog(album("anna/1.png"))
    memory = Path("/dev/shm")  # noqa: S108
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == catalog.root.stat().st_dev:
        pytest.skip("no second file system to write to")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        with pytest.raises(
            DataError, match=r"/anna/1\.png: on another device than the image, where no hard link can le"
        ):
            materialise(catalog, Path(folder) / "out", how="hardlink")
        assert not list((Path(folder) / "out" / "anna").iterdir())


# In the middle of the eighth file the process dies by its own hand, as it would by any other.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from siamese.images.catalog import read_catalog
from siamese.images.materialise import materialise

def half(source, target):
    global left
    left -= 1
    if left:
        return copyfile(source, target)
    Path(target).write_bytes(Path(source).read_bytes()[:5_000])
    os.kill(os.getpid(), signal.SIGKILL)

copyfile, shutil.copyfile, left = shutil.copyfile, half, 8
materialise(read_catalog(Path(sys.argv[1]), check=False), Path(sys.argv[2]), how="copy")
"""


def test_a_killed_call_leaves_whole_files_and_is_resumed(tmp_path: Path) -> None:
    source, out = tmp_path / "data", tmp_path / "out"
    content = os.urandom(10_000)
    for number in range(20):
        path = source / f"id{number % 3}" / "session" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    command = [sys.executable, "-c", KILLED, str(source), str(out)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == -signal.SIGKILL
    written = sorted(path for path in out.glob("*/*") if not path.name.startswith("."))
    assert len(written) == 7
    assert {path.read_bytes() for path in written} == {content}
    whole = [path.stat().st_ino for path in written]
    catalog = materialise(read_catalog(source, check=False), out, how="copy")
    assert len(catalog.images) == 20
    assert all((out / path).read_bytes() == content for path in catalog.images["path"])
    assert [path.stat().st_ino for path in written] == whole
    assert not (out / ".materialising.csv").exists()
