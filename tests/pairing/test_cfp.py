import re

import pytest

from siamese.errors import PairFileError
from siamese.pairing.formats import kind_of, read_pairs, read_triplets

PEOPLE = ("001", "002", "003")


@pytest.fixture
def dataset(tmp_path):
    """A protocol of the published form: 2 frontal and 2 profile images of 3 people, 2 folds."""
    root = tmp_path / "cfp-dataset"
    for letter, pose in (("F", "frontal"), ("P", "profile")):
        paths = [f"../Data/Images/{person}/{pose}/{image:02d}.jpg" for person in PEOPLE for image in (1, 2)]
        lines = "".join(f"{number} {path}\n" for number, path in enumerate(paths, 1))
        write(root / "Protocol" / f"Pair_list_{letter}.txt", lines)
    for group in ("FF", "FP"):
        write(root / "Protocol" / "Split" / group / "01" / "same.txt", "1,2\n3,4\n")
        write(root / "Protocol" / "Split" / group / "01" / "diff.txt", "1,3\n2,4\n")
        write(root / "Protocol" / "Split" / group / "02" / "same.txt", "5,6\n")
        write(root / "Protocol" / "Split" / group / "02" / "diff.txt", "6,1")
    return root


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def refused(expected, call, *arguments, **options):
    with pytest.raises(PairFileError, match=f"^{re.escape(expected)}$"):
        call(*arguments, **options)


@pytest.mark.parametrize("part", ["", "Protocol", "Protocol/Split"])
def test_the_folder_is_recognised_by_what_it_holds(dataset, part):
    frame = read_pairs(dataset / part)
    assert list(frame) == ["left", "right", "same", "fold", "left_identity", "right_identity", "group"]
    assert frame["group"].tolist() == ["FF"] * 6 + ["FP"] * 6
    assert frame["fold"].tolist() == [0, 0, 0, 0, 1, 1] * 2
    assert frame["same"].tolist() == [True, True, False, False, True, False] * 2
    assert kind_of(dataset / part) == "pairs"


def test_numbers_count_into_the_lists(dataset):
    frame = read_pairs(dataset / "Protocol" / "Split" / "FP")
    assert frame["left"].tolist() == [
        "Data/Images/001/frontal/01.jpg",
        "Data/Images/002/frontal/01.jpg",
        "Data/Images/001/frontal/01.jpg",
        "Data/Images/001/frontal/02.jpg",
        "Data/Images/003/frontal/01.jpg",
        "Data/Images/003/frontal/02.jpg",
    ]
    assert frame["right"].tolist()[:2] == ["Data/Images/001/profile/02.jpg", "Data/Images/002/profile/02.jpg"]
    assert frame["right_identity"].tolist() == ["001", "002", "002", "002", "003", "001"]
    assert set(frame["group"]) == {"FP"}
    frontal = read_pairs(dataset / "Protocol" / "Split" / "FF")
    assert frontal["right"].tolist()[0] == "Data/Images/001/frontal/02.jpg"


def test_one_group_needs_only_its_own_list(dataset):
    (dataset / "Protocol" / "Pair_list_P.txt").unlink()
    assert len(read_pairs(dataset / "Protocol" / "Split" / "FF")) == 6
    refused(
        f"{dataset / 'Protocol' / 'Pair_list_P.txt'}: no such file, expected lines NUMBER PATH; "
        "the protocol is incomplete",
        read_pairs,
        dataset,
    )


def test_the_lists_may_lie_beside_the_groups(dataset):
    before = read_pairs(dataset)
    for name in ("Pair_list_F.txt", "Pair_list_P.txt"):
        (dataset / "Protocol" / name).rename(dataset / "Protocol" / "Split" / name)
    assert read_pairs(dataset).equals(before)


@pytest.mark.parametrize("newline", ["\r\n", "\n\n"])
def test_line_breaks_of_any_kind_and_blank_lines_are_read(dataset, newline):
    before = read_pairs(dataset)
    for path in dataset.rglob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", newline.encode()))
    assert read_pairs(dataset).equals(before)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("Split/FP/02/same.txt", "5,6\n\n5;6\n", " line 3: '5;6', expected NUMBER,NUMBER"),
        ("Split/FP/02/same.txt", "5,7\n", " line 1: number 7 is not in Pair_list_P.txt, which has 1 to 6"),
        ("Split/FF/01/diff.txt", "1,2\n0,2\n", " line 2: number 0 is not in Pair_list_F.txt, which has 1 to 6"),
        ("Split/FF/01/diff.txt", "\n", ": is empty, expected lines NUMBER,NUMBER"),
        ("Split/FF/01/diff.txt", None, ": no such file, expected lines NUMBER,NUMBER; the protocol is incomplete"),
        ("Pair_list_F.txt", "1 ../a/b/c.jpg\n../a/b/d.jpg\n", " line 2: '../a/b/d.jpg', expected NUMBER PATH"),
        (
            "Pair_list_F.txt",
            "1 ../a/b/c.jpg\n1 ../a/b/d.jpg\n",
            " line 2: number 1 appears twice; every image has its own",
        ),
    ],
)
def test_a_broken_protocol_is_named_by_file_and_line(dataset, file, text, expected):
    path = dataset / "Protocol" / file
    path.unlink() if text is None else path.write_text(text)
    refused(f"{path}{expected}", read_pairs, dataset)


def test_a_path_out_of_the_dataset_is_refused(dataset):
    path = dataset / "Protocol" / "Pair_list_F.txt"
    path.write_text("1 ../../secret/a/b.jpg\n")
    refused(
        f"{path} line 1: '../../secret/a/b.jpg' leads out of {dataset}, expected a path like "
        "../Data/Images/001/frontal/01.jpg",
        read_pairs,
        dataset,
    )


def test_folders_without_folds_are_refused(dataset, tmp_path):
    group = tmp_path / "other" / "Split" / "FF"
    group.mkdir(parents=True)
    write(tmp_path / "other" / "Pair_list_F.txt", "1 ../a/b/c.jpg\n")
    refused(
        f"{group}: has no folders 01, 02, ..., expected one per fold, with same.txt and diff.txt",
        read_pairs,
        group.parent,
    )
    refused(f"{dataset}: holds pairs, expected triplets", read_triplets, dataset)
