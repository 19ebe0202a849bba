"""`siamese audit`: what it finds in real files, what it prints, and how it ends."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese_cli.main import run

from .conftest import ENCODER, Siamese
from .test_bad_input import refused


@pytest.fixture
def copy(faces: Path, tmp_path: Path) -> Path:
    """A small data set of its own: six identities of six images."""
    folder = tmp_path / "faces"
    for person in range(1, 7):
        shutil.copytree(faces / f"person_{person:03}", folder / f"person_{person:03}")
    return folder


def found(siamese: Siamese, *arguments: object) -> list[dict[str, str]]:
    outcome = siamese("audit", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    return outcome.json["problems"]


def test_nothing_is_found_in_clean_data_and_strict_is_content(siamese: Siamese, faces: Path, pairs: Path) -> None:
    files = [part for name in ("train.csv", "val.csv", "test.csv") for part in ("--pairs", pairs / name)]
    outcome = siamese("audit", faces, *files, "--strict", "--json")
    assert outcome.code == 0
    assert outcome.json["problems"] == []
    assert set(outcome.json) == {"images", "identities", "problems", "counts", "seconds"}
    assert (outcome.json["images"], outcome.json["identities"], outcome.json["counts"]) == (144, 24, {})
    assert "nothing found" in siamese("audit", faces, *files).out


def test_files_that_are_damaged_or_there_twice_are_found(siamese: Siamese, copy: Path) -> None:
    (copy / "person_001" / "bad.jpg").write_bytes((copy / "person_001" / "001.jpg").read_bytes()[:300])
    shutil.copy(copy / "person_002" / "001.jpg", copy / "person_003" / "same.jpg")
    Image.open(copy / "person_004" / "001.jpg").save(copy / "person_005" / "copy.png")
    problems = found(siamese, copy)
    assert [(problem["kind"], problem["where"]) for problem in problems] == [
        ("unreadable", "person_001/bad.jpg"),
        ("exact_duplicate", "person_003/same.jpg"),
        ("near_duplicate", "person_005/copy.png"),
    ]
    assert "truncated" in problems[0]["detail"]
    assert "person_002/001.jpg" in problems[1]["detail"]
    assert "person_004/001.jpg" in problems[2]["detail"]
    assert all(set(problem) == {"kind", "where", "detail"} for problem in problems)


def test_strict_prints_the_report_and_exits_with_two(siamese: Siamese, copy: Path) -> None:
    (copy / "person_001" / "bad.jpg").touch()
    outcome = siamese("audit", copy, "--strict", "--json")
    assert outcome.code == 2
    assert outcome.json["counts"] == {"unreadable": 1}
    last = outcome.err.splitlines()[-1]
    assert last == f"siamese: --strict: 1 problem found in {copy} (unreadable); see the report"
    assert siamese("audit", copy).code == 0


def test_the_report_for_people_names_kind_place_and_count(siamese: Siamese, copy: Path) -> None:
    for number in range(5):
        (copy / "person_001" / f"bad{number}.jpg").touch()
    text = siamese("audit", copy, "--quiet").out
    assert text.startswith("41 images of 6 identities (identity folders)\nunreadable: 5\n")
    assert "  person_001/bad0.jpg: the file is empty (0 bytes); replace it\n" in text
    assert "  and 2 more\n" in text
    assert "5 problems, " in text


def test_what_is_listed_is_limited_and_all_is_counted(siamese: Siamese, copy: Path) -> None:
    for number in range(5):
        (copy / "person_001" / f"bad{number}.jpg").touch()
    result = siamese("audit", copy, "--limit", 2, "--json").json
    assert len(result["problems"]) == 2
    assert result["counts"] == {"unreadable": 5}


def test_pair_files_are_held_against_folders_disk_and_each_other(
    siamese: Siamese, copy: Path, tmp_path: Path
) -> None:
    train, val = tmp_path / "train.csv", tmp_path / "val.csv"
    one, two, other = "person_001/001.jpg", "person_001/002.jpg", "person_002/001.jpg"
    train.write_text(f"left,right,same\n{one},{two},1\n{one},{other},1\n{one},gone.jpg,0\n")
    val.write_text(f"left,right,same\n{two},{one},1\nperson_003/001.jpg,person_004/001.jpg,0\n")
    problems = {
        (problem["kind"], problem["where"]): problem["detail"]
        for problem in found(siamese, copy, "--pairs", train, "--pairs", val)
    }
    assert problems == {
        ("missing_image", f"{train} line 4"): f"names gone.jpg: no file below {copy}",
        ("split_overlap", f"{train}, {val}"): "identity 'person_001' is in both",
        ("identity_contradiction", f"{train} line 3"): (
            "says same, but its identities are 'person_001' and 'person_002'"
        ),
    }


def test_identities_of_a_pair_file_go_before_those_of_the_folders(
    siamese: Siamese, copy: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.csv"
    one, other, third = (f"person_00{person}/001.jpg" for person in (1, 2, 3))
    path.write_text(f"left,right,same,left_identity,right_identity\n{one},{other},1,a,a\n{one},{third},0,a,b\n")
    assert found(siamese, copy, "--pairs", path) == []


def test_quadruplets_are_held_against_the_folders(siamese: Siamese, copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "quadruplets.csv"
    a, b, c, d, e = (f"person_00{person}/001.jpg" for person in (1, 2, 3, 4, 5))
    rows = [f"{a},person_001/002.jpg,{b},{c}", f"{d},{e},{b},{c}", f"{d},person_004/002.jpg,{a},{a}"]
    path.write_text("anchor,positive,negative,negative2\n" + "\n".join(rows) + "\n")
    assert [(each["kind"], each["where"], each["detail"]) for each in found(siamese, copy, "--pairs", path)] == [
        (
            "identity_contradiction",
            f"{path} line 3",
            "says same, but its identities are 'person_004' and 'person_005'",
        ),
        (
            "identity_contradiction",
            f"{path} line 4",
            "says different, but its identities are 'person_001' and 'person_001'",
        ),
        ("self_pair", f"{path} line 4", f"{a} is paired with itself"),
    ]


def test_a_chain_that_contradicts_a_row_is_shown(siamese: Siamese, copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    a, b, c = (f"person_001/00{number}.jpg" for number in (1, 2, 3))
    path.write_text(f"left,right,same\n{a},{b},1\n{b},{c},1\n{c},{a},0\n")
    problems = found(siamese, copy, "--pairs", path)
    assert problems[0] == {
        "kind": "transitive_contradiction",
        "where": f"{path} line 4",
        "detail": f"{c} = {b} = {a} by lines 3 and 2, but line 4 says {c} and {a} are different",
    }


def test_pairs_say_who_is_who_where_folders_do_not(siamese: Siamese, copy: Path, tmp_path: Path) -> None:
    flat, path = tmp_path / "flat", tmp_path / "pairs.csv"
    flat.mkdir()
    for image in copy.rglob("*.jpg"):
        shutil.copy(image, flat / f"{image.parent.name}_{image.name}")
    shutil.copy(copy / "person_002" / "002.jpg", flat / "same.jpg")
    rows = [f"person_{p:03}_001.jpg,person_{p:03}_00{i}.jpg,1" for p in (1, 2) for i in (2, 3, 4)]
    path.write_text("left,right,same\n" + "\n".join(rows) + "\nperson_001_001.jpg,same.jpg,0\n")
    outcome = siamese("audit", flat, "--pairs", path, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["images"], outcome.json["identities"]) == (9, 3)
    (problem,) = outcome.json["problems"]
    assert (problem["kind"], problem["where"]) == ("exact_duplicate", "same.jpg")
    assert "which is of 'identity_000002', this one of 'identity_000003'" in problem["detail"]
    assert "genuine pairs, closed transitively, say who is who" in outcome.err


def test_a_manifest_whose_images_are_not_there_is_audited_without_them(siamese: Siamese, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,identity,split\na/1.jpg,a,train\na/2.jpg,a,val\nb/1.jpg,b,train\n")
    result = siamese("audit", manifest, "--json").json
    assert result["counts"] == {"missing_image": 3, "single_image": 1, "split_overlap": 1}
    assert result["problems"][-1] == {
        "kind": "split_overlap",
        "where": "train, val",
        "detail": "identity 'a' is in each of them",
    }


def test_a_picture_under_a_wrong_name_is_suspected(siamese: Siamese, tmp_path: Path) -> None:
    # A pattern for each identity and a little noise: what even a network with random weights can tell apart.
    rng = np.random.default_rng(0)
    for person in range(12):
        pattern = np.kron(rng.integers(40, 216, (4, 4, 3)), np.ones((8, 8, 1)))
        (tmp_path / f"p{person:02}").mkdir()
        for number in range(4):
            noisy = (pattern + rng.normal(0, 8, pattern.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / f"p{person:02}" / f"{number}.png")
    shutil.move(tmp_path / "p03" / "2.png", tmp_path / "p07" / "wrong.png")
    options = ("--model", ENCODER, "--input-size", 32)
    torch.manual_seed(0)  # of the random weights
    suspect = next(each for each in found(siamese, tmp_path, *options) if each["kind"] == "label_suspect")
    assert suspect["where"] == "p07/wrong.png"
    for part in ("filed under 'p07', whose 4 other images have ", "of 'p03'; look at both (score "):
        assert part in suspect["detail"]


def test_a_model_that_cannot_tell_identities_apart_says_so_and_accuses_no_one(siamese: Siamese, faces: Path) -> None:
    torch.manual_seed(0)  # of the random weights
    outcome = siamese("audit", faces, "--model", ENCODER, "--input-size", 32, "--json")
    assert outcome.json["problems"] == []
    assert "the model does not tell these identities apart, so it can doubt no label" in outcome.err


def test_what_cannot_be_audited_is_refused_in_one_line(siamese: Siamese, copy: Path, tmp_path: Path) -> None:
    broken, elsewhere = tmp_path / "broken.csv", tmp_path / "elsewhere.csv"
    broken.write_text("left,right,same\na,b,maybe\n")
    elsewhere.write_text("left,right,same\na.jpg,b.jpg,1\n")
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(copy / "person_001" / "001.jpg", flat)
    refused(siamese("audit", tmp_path / "nothing"), tmp_path / "nothing", "no such folder or manifest")
    refused(siamese("audit", copy, "--pairs", broken), broken, "line 2", "maybe")
    refused(siamese("audit", flat), flat, "1 images but no identity folders")
    refused(siamese("audit", flat, "--pairs", elsewhere), flat, "holds no image that a pair file names")
    refused(siamese("audit", copy, "--identity-depth", 0, "--pairs", elsewhere), "--identity-depth 0")
    refused(siamese("audit", copy, "--input-size", 32), "--input-size", "--model")
    refused(siamese("audit", copy, "--model", "no_such_encoder"), "no_such_encoder")


def test_a_pair_file_made_by_the_program_in_parquet_is_audited(siamese: Siamese, copy: Path, tmp_path: Path) -> None:
    assert run(["make-pairs", str(copy), "--format", "parquet", "-o", str(tmp_path), "--quiet"]) == 0
    frame = pd.read_parquet(tmp_path / "pairs.parquet")
    pd.concat([frame, frame.iloc[[0]]]).to_parquet(tmp_path / "twice.parquet", index=False)
    (problem,) = found(siamese, copy, "--pairs", tmp_path / "twice.parquet")
    assert problem["kind"] == "duplicate_pair"
    assert problem["where"] == f"{tmp_path / 'twice.parquet'} row {len(frame) + 1}"


@pytest.mark.real_data
@pytest.mark.slow
def test_the_strongest_suspects_of_lfw_hold_its_published_errors(siamese: Siamese, real_data: Path) -> None:
    weights = real_data / "weights" / "mobilefacenet_casia_webface.ckpt"
    problems = found(siamese, real_data / "data" / "lfw", "--model", f"mobilefacenet@{weights}")
    suspects = [problem for problem in problems if problem["kind"] == "label_suspect"][:10]
    named = [f"{problem['where']} {problem['detail']}" for problem in suspects]
    for pair in (("Carlos_Beltran_0001", "Raul_Ibanez_0001"), ("Emmy_Rossum_0001", "Eva_Amurri_0001")):
        assert any(all(name in text for name in pair) for text in named)
    copies = {problem["where"] for problem in problems if problem["kind"] == "near_duplicate"}
    assert {"Ricky_Ray/Ricky_Ray_0001.jpg", "Eva_Amurri/Eva_Amurri_0001.jpg"} <= copies
