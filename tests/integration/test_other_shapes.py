"""Data in somebody else's shape, through the commands: layouts, pair forms, groups, hard pairs, pairs alone."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.pairing.face_bin import write_bin
from siamese.pairing.formats import read_pairs, write_pairs

from .conftest import TRAIN, Siamese


def test_clean_images_are_paired_with_distorted_ones(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    nested = tmp_path / "nested"
    shutil.copytree(faces, nested)
    for person in nested.iterdir():
        (person / "distortion").mkdir()
        for image in sorted(person.glob("*.jpg"))[:3]:
            image.rename(person / "distortion" / image.name)
    outcome = siamese(
        *("make-pairs", nested, "--groups", ".:distortion", "--num-pairs", 100, "-o", tmp_path, "--json"),
        *("--materialize", tmp_path / "flat", "--how", "symlink"),
    )
    assert outcome.code == 0, outcome.err
    assert "recognised as identity folders: 144 images of 24 identities" in outcome.err
    table = pd.read_csv(tmp_path / "pairs.csv")
    for _, row in table.iterrows():
        assert {row["left_group"], row["right_group"]} == {".", "distortion"}
    images = pd.unique(table[["left", "right"]].to_numpy().reshape(-1))
    assert all((tmp_path / "flat" / image).is_file() and image.count("/") == 1 for image in images)
    assert len(list(nested.glob("*/distortion/*.jpg"))) == 72, "nothing of the user's is moved"


def test_all_pairs_and_quadruplets_are_made(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    every = siamese("make-pairs", faces, "--all-pairs", "--format", "parquet", "-o", tmp_path, "--json").json
    counts = every["files"]["pairs.parquet"]
    assert (counts["genuine"], counts["impostor"]) == (24 * 15, 24 * 23 // 2 * 36)
    quadruplets = siamese("make-pairs", faces, "--kind", "quadruplets", "--num-pairs", 40, "-o", tmp_path, "--json")
    assert quadruplets.json["files"] == {"quadruplets.csv": {"quadruplets": 40, "identities": 24}}


def test_hard_pairs_are_harder_than_random_ones(siamese: Siamese, faces: Path, model: Path, tmp_path: Path) -> None:
    common = ("--num-pairs", 60, "--json")
    hard = siamese("make-pairs", faces, "--hard", model, *common, "-o", tmp_path / "hard")
    assert hard.code == 0, hard.err
    assert siamese("make-pairs", faces, *common, "-o", tmp_path / "random").code == 0
    mean = {}
    for name in ("hard", "random"):
        pairs = tmp_path / name / "pairs.csv"
        result = siamese(
            "evaluate", model, "--pairs", pairs, "--root", faces, "-o", tmp_path / name / "out", "--json"
        )
        assert result.code == 0, result.err
        scores = pd.read_csv(tmp_path / name / "out" / "scores.csv")
        mean[name] = scores.groupby("same")["similarity"].mean()
    kept = pd.read_csv(tmp_path / "hard" / "pairs.csv")["similarity"]
    scored = pd.read_csv(tmp_path / "hard" / "out" / "scores.csv")["similarity"]
    np.testing.assert_allclose(kept, scored, atol=1e-4)
    assert mean["hard"][False] > mean["random"][False]
    assert mean["hard"][True] < mean["random"][True]


def course(faces: Path, folder: Path) -> Path:
    """A course's folder: people by split, images to verify beside them, and a list of pairs of those."""
    people = sorted(faces.iterdir())
    for split, chosen in (("train_data", people[:14]), ("val_data", people[14:20])):
        for person in chosen:
            shutil.copytree(person, folder / "classification_data" / split / person.name)
    (folder / "verification_data").mkdir()
    lines = []
    for number, person in enumerate(people[20:]):
        for image in range(1, 4):
            name = f"{number * 3 + image:05}.jpg"
            shutil.copy(person / f"{image:03}.jpg", folder / "verification_data" / name)
        first, second, third = (f"verification_data/{number * 3 + image:05}.jpg" for image in range(1, 4))
        other = f"verification_data/{(number + 1) % 4 * 3 + 1:05}.jpg"
        lines += [f"{first} {second} 1", f"{first} {third} 1", f"{second} {other} 0", f"{third} {other} 0"]
    (folder / "verification_pairs_val.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_course_is_trained_on_and_evaluated_as_it_comes(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    data = course(faces, tmp_path / "course")
    made = siamese("make-pairs", data, "--num-pairs", 40, "-o", tmp_path / "pairs", "--json")
    assert made.code == 0, made.err
    assert set(made.json["files"]) == {"train.csv", "val.csv"}
    trained = siamese("train", data, *TRAIN, "-o", tmp_path / "model", "--json")
    assert trained.code == 0, trained.err
    assert "classification_data course layout" in trained.err
    val = pd.read_csv(tmp_path / "model" / "run" / "val.csv")
    assert set(val["left"].str.split("/").str[1]) == {"val_data"}
    measured = siamese("evaluate", tmp_path / "model", "--pairs", data / "verification_pairs_val.txt", "--json")
    assert measured.code == 0, measured.err
    assert (measured.json["genuine"], measured.json["impostor"]) == (8, 8)


def test_a_course_is_embedded_with_the_identities_it_has(
    siamese: Siamese, faces: Path, model: Path, tmp_path: Path
) -> None:
    data = course(faces, tmp_path / "course")
    outcome = siamese("embed", data, "--model", model, "-o", tmp_path / "out.parquet", "--json")
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(tmp_path / "out.parquet").set_index("path")["identity"]
    assert len(table) == 20 * 6 + 4 * 3
    assert table["classification_data/val_data/person_015/001.jpg"] == "person_015"
    assert table[table.index.str.startswith("verification_data/")].isna().all()


def test_a_pair_file_alone_is_trained_on(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    people = sorted(faces.iterdir())
    for number, person in enumerate(people):
        for image in range(1, 4):
            shutil.copy(person / f"{image:03}.jpg", loose / f"{number:02}{image}.jpg")
    rows = [f"{n:02}1.jpg\t{n:02}2.jpg\t0\n{n:02}2.jpg\t{n:02}3.jpg\t0" for n in range(24)]
    rows += [f"{n:02}1.jpg\t{(n + 5) % 24:02}3.jpg\t1" for n in range(24)]
    pairs = loose / "forgeries.txt"
    pairs.write_text("\n".join(rows) + "\n", encoding="utf-8")
    options = [option for option in TRAIN if option not in ("--num-pairs", "64")]
    trained = siamese("train", pairs, "--same-label", "0", *options, "-o", tmp_path / "model", "--json")
    assert trained.code == 0, trained.err
    assert "genuine pairs join 72 images into 24 identities" in trained.err
    kept = pd.read_csv(tmp_path / "model" / "run" / "train.csv")
    assert ((kept["left"].str[:2] == kept["right"].str[:2]) == kept["same"].astype(bool)).all()
    provenance = json.loads((tmp_path / "model/run/provenance.json").read_text(encoding="utf-8"))
    expected = hashlib.sha256(pairs.read_bytes()).hexdigest()
    assert provenance["data"]["pair_files"] == {"data": expected}


def test_packed_pairs_are_evaluated_where_they_lie(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    table = read_pairs(pairs / "test.csv")[["left", "right", "same"]]
    write_pairs(table, tmp_path / "test.csv")
    write_bin(table, faces, tmp_path / "test.bin")
    plain = siamese("evaluate", model, "--pairs", tmp_path / "test.csv", "--root", faces, "--json").json
    packed = siamese("evaluate", model, "--pairs", tmp_path / "test.bin", "--json")
    assert packed.code == 0, packed.err
    for key in ("genuine", "impostor", "auc", "eer", "images"):
        assert packed.json[key] == pytest.approx(plain[key])
    refused = siamese("evaluate", model, "--pairs", tmp_path / "test.bin", "--root", faces)
    assert refused.code == 2
    assert refused.err.strip().endswith("holds its own images and labels; leave out --root and --same-label")


def test_inverted_labels_are_measured_as_what_they_mean(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    table = read_pairs(pairs / "test.csv")[["left", "right", "same"]]
    write_pairs(table, tmp_path / "plain.csv")
    table.assign(same=(~table["same"]).astype(int)).to_csv(tmp_path / "inverted.csv", index=False)
    results = [
        siamese("evaluate", model, "--root", faces, "--json", "--pairs", tmp_path / name, *extra).json
        for name, extra in (("plain.csv", ()), ("inverted.csv", ("--same-label", "0")))
    ]
    for key in ("genuine", "impostor", "auc", "accuracy"):
        assert results[0][key] == results[1][key]


def test_converting_says_what_it_wrote(siamese: Siamese, faces: Path, pairs: Path, tmp_path: Path) -> None:
    outcome = siamese("convert", pairs / "test.csv", "-o", tmp_path / "test.parquet", "--json")
    assert outcome.code == 0, outcome.err
    table = read_pairs(tmp_path / "test.parquet")
    assert outcome.json["kind"] == "pairs"
    assert (outcome.json["pairs"], outcome.json["genuine"]) == (len(table), int(table["same"].sum()))
    text = siamese("convert", pairs / "test.csv", "-o", tmp_path / "test.tsv").out
    assert text.startswith(f"{tmp_path / 'test.tsv'}: {len(table)} pairs, ")
