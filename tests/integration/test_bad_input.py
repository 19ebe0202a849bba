"""What a user can get wrong: one line that says what and what to do, exit code 2, nothing lost."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from .conftest import ENCODER, TRAIN, Outcome, Siamese


def refused(outcome: Outcome, *parts: object) -> None:
    """One line on stderr with all the parts, nothing on stdout, exit code 2."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    last = outcome.err.splitlines()[-1]
    assert last.startswith("siamese: ")
    assert "Traceback" not in outcome.err
    assert "internal error" not in outcome.err
    for part in parts:
        assert str(part) in last


def damaged(kind: str, good: Path, folder: Path) -> Path:
    path = folder / "image.jpg"
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        content = {"empty": b"", "truncated": good.read_bytes()[:500], "text": b"I am not an image.\n" * 50}
        path.write_bytes(content[kind])
    return path


BAD_IMAGES = {
    "missing": "no such file",
    "directory": "is a folder",
    "empty": "the file is empty (0 bytes)",
    "truncated": "truncated",
    "text": "not an image in a known format",
}


@pytest.mark.parametrize(("kind", "words"), BAD_IMAGES.items())
@pytest.mark.parametrize("second", [False, True])
def test_compare_refuses_a_bad_image(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path], tmp_path: Path, kind: str, words: str, second: bool
) -> None:
    bad = damaged(kind, two_images[0], tmp_path)
    images = (two_images[0], bad) if second else (bad, two_images[0])
    refused(siamese("compare", *images, "--model", model), bad, words)


@pytest.mark.usefixtures("nothing_bundled")
def test_compare_without_a_model_or_a_threshold_says_what_to_give(
    siamese: Siamese, two_images: tuple[Path, Path]
) -> None:
    refused(siamese("compare", *two_images), "came without its model", "--model FOLDER", "an encoder")
    refused(siamese("compare", *two_images, "--model", ENCODER), "--threshold", "siamese train")


def test_compare_refuses_a_far_that_the_validation_pairs_do_not_support(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path]
) -> None:
    refused(siamese("compare", *two_images, "--model", model, "--far", 1e-6), "--far 1e-06", "no operating point")


def test_a_pair_file_without_its_column_names_the_column(siamese: Siamese, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("left,rigth,same\na.jpg,b.jpg,1\n")
    refused(siamese("evaluate", model, "--pairs", file), file, "'right'", "rigth")


def test_a_row_that_names_a_missing_file_is_given_by_its_line(
    siamese: Siamese, model: Path, faces: Path, pairs: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(pairs / "test.csv")
    frame.loc[3, "right"] = "person_001/999.jpg"
    file = tmp_path / "pairs.csv"
    frame.to_csv(file, index=False)
    for command in (
        ("evaluate", model, "--root", faces, "--pairs", file),
        ("train", faces, "--encoder", ENCODER, "--pairs", file, "-o", tmp_path / "out"),
    ):
        refused(siamese(*command), file, "line 5", "right", "person_001/999.jpg")


def test_a_missing_pair_file_is_named(siamese: Siamese, model: Path, tmp_path: Path) -> None:
    refused(siamese("evaluate", model, "--pairs", tmp_path / "none.csv"), tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--encoder", "mobilefacnet"], "did you mean 'mobilefacenet'"),
        (["--encoder", "timm/resnet10"], "resnet10t"),
        (["--loss", "contrastiv"], "did you mean 'contrastive'"),
        (["--loss", "contrastive+margn=1"], "did you mean 'margin'"),
        (["--head", "mpl"], "did you mean 'mlp'"),
        (["--augment", "standart"], "did you mean 'standard'"),
        (["--freeze", "some"], "all, none"),
        (["--epochs", "0"], "--epochs 0"),
        (["--encoder", "inception_resnet_v1@nowhere.pt"], "nowhere.pt"),
        (["--num-pairs", "1000000"], "1000000"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_train_refuses_what_it_does_not_know(
    siamese: Siamese, faces: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    outcome = siamese("train", faces, *TRAIN, *options, "-o", tmp_path / "out")
    refused(outcome, words if words != "1000000" else "genuine pairs")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("command", ["train", "compare", "evaluate", "embed"])
def test_a_gpu_that_is_not_there_is_an_error_everywhere(
    siamese: Siamese,
    faces: Path,
    pairs: Path,
    model: Path,
    two_images: tuple[Path, Path],
    tmp_path: Path,
    command: str,
) -> None:
    arguments = {
        "train": (faces, *TRAIN, "-o", tmp_path / "out"),
        "compare": (*two_images, "--model", model),
        "evaluate": (model, "--pairs", pairs / "test.csv", "--root", faces),
        "embed": (faces, "--model", model, "-o", tmp_path / "out.parquet"),
    }
    refused(siamese(command, *arguments[command], "--device", "cuda"), "--device cuda", "0 CUDA GPUs found")


@pytest.mark.parametrize("file", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_model_folder_with_a_missing_or_changed_file_is_refused(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path], tmp_path: Path, file: str, missing: bool
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    if missing:
        (copy / file).unlink()
    else:
        content = bytearray((copy / file).read_bytes())
        content[len(content) // 2] ^= 0xFF
        (copy / file).write_bytes(content)
    refused(siamese("compare", *two_images, "--model", copy), copy)


def test_train_replaces_a_model_only_with_force(siamese: Siamese, faces: Path, model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    before = (copy / "model.safetensors").read_bytes()
    refused(siamese("train", faces, *TRAIN, "-o", copy), copy, "--force")
    assert (copy / "model.safetensors").read_bytes() == before
    assert siamese("train", faces, *TRAIN, "--seed", 9, "-o", copy, "--force").code == 0
    assert (copy / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--num-pairs", 100_000), ("50000", "360")),
        (("--split", "0.5,0.6"), ("--split", "1.1")),
        (("--split", "0.5,0.25,0.25", "--folds", 3), ("--split", "--folds")),
        (("--kind", "pair"), ("'pairs'",)),
        (("--format", "cvs"), ("'csv'",)),
        (("--identity-depth", 3), ("3 levels deep",)),
        (("--how", "symlink"), ("--how symlink: goes with --materialize; give that too, or leave --how out",)),
        (("--group-by", "session"), ("--group-by session: goes with --groups; give that too, or leave --group-by",)),
    ],
)
def test_make_pairs_refuses_what_the_data_cannot_give(
    siamese: Siamese, faces: Path, tmp_path: Path, arguments: tuple[object, ...], parts: tuple[str, ...]
) -> None:
    outcome = siamese("make-pairs", faces, *arguments, "-o", tmp_path / "out")
    line = outcome.err.splitlines()[-1].replace(",", "")
    assert outcome.code == 2
    assert all(part.replace(",", "") in line for part in parts), line
    assert not (tmp_path / "out").exists()


def test_one_identity_alone_cannot_be_paired(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces / "person_001", tmp_path / "data" / "person_001")
    outcome = siamese("make-pairs", tmp_path / "data", "-o", tmp_path / "out")
    assert outcome.code == 2
    assert re.search(r"\b(1|one) identity\b", outcome.err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trian",), "'train'"),
        (("compare", "a.jpg"), "IMG2"),
        (("train", "x", "--epochs", "ten"), "--epochs"),
        (("make-pairs", "nowhere"), "nowhere"),
        (("align", "nowhere", "out"), "nowhere"),
        (("embed", "nowhere", "--model", ENCODER), "nowhere"),
    ],
)
def test_mistyped_commands_end_in_one_line(siamese: Siamese, arguments: tuple[str, ...], words: str) -> None:
    outcome = siamese(*arguments)
    refused(outcome, words)
    assert len(outcome.err.splitlines()) == 1


def test_help_has_an_example_for_every_command(siamese: Siamese) -> None:
    assert siamese().code == 0
    commands = re.findall(r"^  ([a-z-]+)  ", siamese("--help").out.partition("Commands:")[2], re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        outcome = siamese(command, "--help")
        assert outcome.code == 0
        assert f"Example: siamese {command}" in outcome.out
        for option in ("--json", "--seed", "--device", "--quiet"):
            assert option in outcome.out, (command, option)
