import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.errors import DataError
from siamese.images.manifest import read_labels, read_manifest


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_tables_of_any_separator_keep_every_column(tmp_path: Path, separator: str) -> None:
    lines = ["session,path,identity,folder,note", "s2,b c.png,bob,x,", "s1,a.png,007,,007"]
    found = read_manifest(write(tmp_path / "m.txt", "\n".join(lines).replace(",", separator)))
    assert found.layout == "manifest"
    assert found.root == tmp_path
    assert list(found.images.columns) == ["path", "identity", "session", "folder", "note"]
    assert found.images.fillna("-").to_numpy().tolist() == [
        ["a.png", "007", "s1", "-", "007"],
        ["b c.png", "bob", "s2", "x", "-"],
    ]


@pytest.mark.parametrize("path_name", ["path", "file", "Filename", "IMAGE", "image_path", "image_id"])
@pytest.mark.parametrize("identity_name", ["identity", "Label", "id", "person", "CLASS", "subject", "identity_id"])
def test_columns_may_go_by_other_names(tmp_path: Path, path_name: str, identity_name: str) -> None:
    images = read_manifest(write(tmp_path / "m.csv", f"{identity_name},{path_name}\nada,a.png\n")).images
    assert list(images.columns) == ["path", "identity"]
    assert images.to_numpy().tolist() == [["a.png", "ada"]]


def test_the_plain_names_win_and_the_others_are_group_columns(tmp_path: Path) -> None:
    images = read_manifest(write(tmp_path / "m.csv", "image_id,path,label,identity,Path\n7,a.png,cat,ada,x\n")).images
    assert images.to_dict("records") == [
        {"path": "a.png", "identity": "ada", "image_id": "7", "label": "cat", "Path": "x"}
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,image,identity", "'file' and 'image' could both be the column 'path'; name the right one 'path'"),
        ("path,Label,person", "'Label' and 'person' could both be the column 'identity'; name the right one 'ident"),
        ("path,split", "no column 'identity'; found path, split; a manifest has path, identity"),
        (
            "left,right,same",
            "no column 'path'; found left, right, same; a manifest has path, identity; pairs are giv",
        ),
        ("path,identity,x,x", "column 'x' appears twice; rename one of them"),
    ],
)
def test_a_header_that_will_not_do_is_explained(tmp_path: Path, header: str, message: str) -> None:
    path = write(tmp_path / "m.csv", f"{header}\na,b,c,d\n")
    assert refused(path).startswith(f"{path}: {message}")


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "\n\r\npath,identity\r\na.png,ada\r\n\r\n,\r\nb.png,\r\n")
    assert refused(path) == f"{path}, row 7: empty path or identity"
    write(path, "\n\npath,identity\na.png,ada\n\n,\nb.png,bob")
    assert read_manifest(path).images["path"].tolist() == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("rows", "row"),
    [("a.png,ada,x\n", "row 2"), ("a.png,ada\nb.png,bob,x\n", "row 3"), ("a.png,ada,x,y\n", "row 2")],
)
def test_a_cell_too_many_names_its_row(tmp_path: Path, rows: str, row: str) -> None:
    path = write(tmp_path / "m.csv", f"path,identity\n{rows}")
    assert refused(path) == f"{path}, {row}: more than the 2 cells of the header; quote cells that hold ','"


def test_many_cells_too_many_name_their_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "\npath,identity\na.png,ada\nb.png,x,y,z\n")
    assert re.fullmatch(
        re.escape(f"{path}: cannot be read as a CSV manifest (") + r".* line 4, .*quote .*", refused(path)
    )


def test_quoted_cells_hold_separators_and_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", '"path","identity"\n"a, b.png","ada ""the first"""\na.png,\'x\'\n')
    images = read_manifest(path).images
    assert images.to_numpy().tolist() == [["a, b.png", 'ada "the first"'], ["a.png", "'x'"]]


def test_a_table_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("abc ,\"\t;é日'#"))
    texts = ["x" + "".join(rng.choice(letters, 6)) + "x" for _ in range(900)]
    frame = pd.DataFrame({"path": [f"{n}{text}" for n, text in enumerate(texts[:300])], "identity": texts[300:600]})
    frame["group"] = texts[600:]
    frame.to_csv(tmp_path / "m.csv", index=False)
    frame.to_parquet(tmp_path / "m.parquet")
    expected = frame.sort_values("path", ignore_index=True).to_numpy().tolist()
    assert read_manifest(tmp_path / "m.csv").images.to_numpy().tolist() == expected
    assert read_manifest(tmp_path / "m.parquet").images.to_numpy().tolist() == expected


def test_parquet_columns_of_any_type_become_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"image": ["b", "a"], "label": [7, 8], "age": [1.5, np.nan], "kind": pd.Categorical(["x", "y"])}
    )
    frame.index = pd.Index([5, 6])
    frame.to_parquet(tmp_path / "m.pq")
    images = read_manifest(tmp_path / "m.pq").images
    assert list(images.columns) == ["path", "identity", "age", "kind"]
    assert images.fillna("-").to_numpy().tolist() == [["a", "8", "-", "y"], ["b", "7", "1.5", "x"]]


def test_parquet_that_holds_lists_or_is_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pd.DataFrame({"path": ["a"], "identity": ["x"], "box": [[1, 2]]}).to_parquet(path)
    assert re.search(r"column 'box' holds list<.*>, expected text or numbers$", refused(path))
    path.write_bytes(path.read_bytes()[:100])
    assert refused(path).startswith(f"{path}: is no whole Parquet file (")
    pd.DataFrame({"path": ["a", "b"], "identity": ["x", None]}).to_parquet(path)
    assert refused(path) == f"{path}, row 2: empty path or identity"


def test_rows_that_repeat_an_image_differently_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "m.csv", "path,identity,session\na,x,1\na,x,2\nb,x,1\nb,x,1\n")
    assert read_manifest(path).images.to_numpy().tolist() == [["a", "x", "1"], ["b", "x", "1"]]
    assert caplog.messages == [f"{path}: 1 rows repeat an image with other values; the first row of each is kept"]


def test_lines_of_path_and_label(tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", "\ufeffb.jpg 2\n\n  my photo (1).JPEG   17 \r\na/é.png\t-1\n")
    found = read_manifest(path)
    assert found.layout == "manifest"
    assert found.images.to_numpy().tolist() == [["a/é.png", "-1"], ["b.jpg", "2"], ["my photo (1).JPEG", "17"]]


def test_labels_behind_tabs_and_commas_may_hold_spaces(tmp_path: Path) -> None:
    tabs = write(tmp_path / "tabs.txt", "a b.jpg\tAda Lovelace\nc.jpg x\n")
    assert read_manifest(tabs).images.to_numpy().tolist() == [["a b.jpg", "Ada Lovelace"], ["c.jpg", "x"]]
    commas = write(tmp_path / "commas.csv", "a b.jpg,Ada Lovelace\nc,d.jpg, x\n")
    assert read_manifest(commas).images.to_numpy().tolist() == [["a b.jpg", "Ada Lovelace"], ["c,d.jpg", "x"]]


@pytest.mark.parametrize(
    "head", ["", "2\n", "image_id identity\n", "2\nimage_id identity\n", "2\n\nimage_id\tidentity\n"]
)
def test_celeba_with_and_without_count_and_header(tmp_path: Path, head: str) -> None:
    path = write(tmp_path / "identity_CelebA.txt", f"{head}000002.jpg 2937\n000001.jpg 2880\n")
    found = read_manifest(path)
    assert found.layout == "CelebA identity list"
    assert found.images.to_numpy().tolist() == [["000001.jpg", "2880"], ["000002.jpg", "2937"]]


def test_celeba_is_known_by_its_numbers_too(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path / "people.txt", "000001.jpg 2880\n")).layout == "CelebA identity list"
    assert read_manifest(write(tmp_path / "people.txt", "000001.jpg 2880\n1.jpg 2\n")).layout == "manifest"
    assert read_manifest(write(tmp_path / "people.txt", "000001.jpg ada\n")).layout == "manifest"


def test_a_path_that_no_system_takes_may_be_listed(tmp_path: Path) -> None:
    name = "x" * 300 + ".jpg"
    assert read_manifest(write(tmp_path / "list.txt", f"{name} ada\n")).images["path"].tolist() == [name]


def test_bare_names_are_found_in_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").touch()
    found = read_manifest(write(tmp_path / "labels.txt", "1.jpg ada\n2.jpg bob\n"))
    assert found.root == tmp_path
    assert found.images["path"].tolist() == ["images/1.jpg", "images/2.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 1\nb.jpg\n", " line 2: no label after 'b.jpg'; expected PATH LABEL"),
        ("a.jpg 1\n\nmy photo.jpg\nb.jpg 2\n", " line 3: no label after 'my photo.jpg'; expected PATH LABEL"),
        ("a.jpg 1\nada\n", " line 2: 'ada' is not PATH LABEL; expected a path that ends in .avif, .bmp"),
        ("a.jpg 1\nnotes.doc 3\n", " line 2: 'notes.doc 3' is not PATH LABEL; expected a path that ends in"),
        ("a.jpg\nb.jpg\n", ": a list of images without labels; expected lines of PATH LABEL"),
        (
            "a.jpg b.jpg 1\nc.jpg d.jpg 0\n",
            ": holds pairs of images, expected lines of PATH LABEL; pairs are given by",
        ),
        (
            "a.jpg b.jpg\nc.jpg d.jpg\n",
            ": holds pairs of images, expected lines of PATH LABEL; pairs are given by --p",
        ),
        ("12\nAbel_Pacheco\t4\n", " line 2: 'Abel_Pacheco\\t4' is not PATH LABEL; expected a path that ends in"),
        ("5\n", ": has no lines of PATH LABEL"),
        (
            "a.jpg 1\nb.jpg 1\na.jpg 2\n",
            ": 'a.jpg' is listed under the identities '1' and '2'; keep the right one (lin",
        ),
        (
            " \n\t\n",
            ": is empty; expected a manifest: CSV, TSV or Parquet with path, identity, or lines of PATH LABEL",
        ),
        (b"a.jpg 1\n\xe9.jpg 2\n", " line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0",
            ": holds binary data; expected a manifest: CSV, TSV or Parquet with path, ident",
        ),
        ("a.jpg 1\n".encode("utf-16"), " line 1: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("just a note\n", ": no column 'path'; found just a note; a manifest has path, identity"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path / "list.txt", text)
    assert refused(path).startswith(f"{path}{message}")


def test_labels_of_a_folder_keep_their_lines_or_are_none(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path / "labels.txt", "\nb.jpg 1\n\na.jpg 2\n"))
    assert labels is not None
    assert labels.index.tolist() == [2, 4]
    assert labels["path"].tolist() == ["b.jpg", "a.jpg"]
    assert read_labels(write(tmp_path / "labels.txt", "b.jpg\na b.jpg\n")) is None
    table = read_labels(write(tmp_path / "labels.txt", "label,file,x\n1,b.jpg,y\n"))
    assert table is not None
    assert table.reset_index().to_numpy().tolist() == [[2, "b.jpg", "1"]]


def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = [f"{n % 7}/{n}.jpg {n % 11}" for n in range(500)]
    first = read_manifest(write(tmp_path / "a.txt", "\n".join(lines))).images
    second = read_manifest(write(tmp_path / "b.txt", "\n".join(rng.permutation(lines)))).images
    pd.testing.assert_frame_equal(first, second)
    assert sorted(first["path"]) == first["path"].tolist()
    assert dict(zip(first["path"], first["identity"], strict=True)) == dict(line.split() for line in lines)
