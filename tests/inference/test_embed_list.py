"""What is to be embedded: lists of paths, told from manifests, folders and images."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from siamese.errors import DataError, ImageError
from siamese.inference.embed_list import images_to_embed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("anna/1.png", "anna/2.png", "bernd mit leer/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "anna/2.png\nbernd mit leer/3.png\nanna/2.png\n",
        "\ufeffpath\r\n\r\n  anna/2.png\r\nbernd mit leer/3.png\r\nanna/2.png",
        "\nImage\nanna/2.png\n\nbernd mit leer/3.png\nanna/2.png\n\n",
    ],
)
def test_a_list_keeps_its_lines_in_their_order_also_those_that_come_twice(folder: Path, text: str) -> None:
    table = images_to_embed(write(folder / "list.txt", text))
    assert table.column("path").to_pylist() == ["anna/2.png", "bernd mit leer/3.png", "anna/2.png"]
    assert all(Path(file).is_file() for file in table.column("file").to_pylist())
    assert table.column("identity").null_count == 3


def test_paths_of_a_list_start_from_where_the_command_runs_if_nothing_is_beside_the_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lists").mkdir()
    listing = write(folder / "lists" / "found.txt", "./anna/1.png\nanna/none.png\n")
    with pytest.raises(DataError) as failure:
        images_to_embed(listing)
    assert str(failure.value) == (
        f"{listing}: not one of its 2 images is there, the first is {listing.parent / 'anna/1.png'}; relative paths "
        f"start from {listing.parent} or from where the command runs"
    )
    monkeypatch.chdir(folder)
    assert images_to_embed(listing).column("file").to_pylist() == ["anna/1.png", "anna/none.png"]


def test_absolute_paths_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    listing = write(tmp_path / "list.txt", f"{folder / 'anna/1.png'}\n")
    assert images_to_embed(listing).column("file").to_pylist() == [str(folder / "anna/1.png")]


def test_a_line_that_names_no_image_is_named(folder: Path) -> None:
    listing = write(folder / "list.txt", "anna/1.png\n\nanna/2.png anna\n")
    with pytest.raises(DataError, match=r"list\.txt line 3: 'anna/2\.png anna' names no image; expected one path a"):
        images_to_embed(listing)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "path,identity\nanna/1.png,anna\n"),
        ("m.txt", "anna/1.png anna\n"),
        ("m.tsv", "anna/1.png\tanna\n"),
        ("m.txt", "1\nanna/1.png anna\n"),
    ],
)
def test_a_manifest_is_told_from_a_list_by_the_identity_of_its_first_line(folder: Path, name: str, text: str) -> None:
    table = images_to_embed(write(folder / name, text))
    assert table.to_pylist() == [{"path": "anna/1.png", "file": str(folder / "anna/1.png"), "identity": "anna"}]


def test_a_manifest_as_parquet_is_no_list(folder: Path) -> None:
    pd.DataFrame({"path": ["anna/1.png"], "identity": ["anna"]}).to_parquet(folder / "m.parquet")
    assert images_to_embed(folder / "m.parquet").column("identity").to_pylist() == ["anna"]


def test_a_folder_gives_identities_and_an_image_none(folder: Path) -> None:
    table = images_to_embed(folder)
    assert table.column("path").to_pylist() == ["anna/1.png", "anna/2.png", "bernd mit leer/3.png"]
    assert table.column("identity").to_pylist() == ["anna", "anna", "bernd mit leer"]
    assert images_to_embed(folder / "anna/1.png").column("identity").to_pylist() == [None]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", "empty.txt: is empty"),
        ("binary.txt", b"a.png\0\xff\n", "binary"),
        ("pairs.txt", b"a.png b.png\n", "pairs of images"),
        ("half.parquet", b"PAR1 and no more", "no whole Parquet file"),
    ],
)
def test_files_that_list_nothing_are_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        images_to_embed(tmp_path / name)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        images_to_embed(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"nowhere\.png: no such image file"):
        images_to_embed(tmp_path / "nowhere.png")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="bare: no images below it"):
        images_to_embed(tmp_path / "bare")
