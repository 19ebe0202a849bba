"""What can go wrong when a model is used: one line that says what, where and what to do, and nothing half done."""

import json
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from .conftest import Outcome, Siamese
from .without_packages import python_without

pytestmark = pytest.mark.usefixtures("runtime_as_it_comes")

CHECKPOINT = "weights/mobilefacenet_casia_webface.ckpt"
EXPORT = Path("export") / "openvino"
# What a machine that only uses models need not have.
TORCH = ("torch", "torchvision", "facenet_pytorch", "timm", "lightning")


def refused(outcome: Outcome, message: str) -> None:
    """Exactly this line, after what was said of the work before."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert outcome.err.splitlines()[-1] == f"siamese: {message}"
    assert "Traceback" not in outcome.err


def outcome_of(done: "subprocess.CompletedProcess[str]") -> Outcome:
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy of model"))


# images that are none


def bomb() -> bytes:
    """A PNG of some bytes that claims 3.6 billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(100_000), 9))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")


BAD = {
    "bomb.png": "more than 100,000,000 pixels; reduce the image first",
    "cut.jpg": "damaged or truncated image (image file is truncated (20 bytes not processed)); replace the file",
    "empty.png": "the file is empty (0 bytes); replace it",
    "pipe.jpg": "is a pipe or a device, expected an image file; save the image to a file first",
    "film.jpg": "not an image in a known format (JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM, JPEG2000, AVIF); replace or "
    "remove it",
}


@pytest.fixture
def bad(two_images: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder of images of which only `good.jpg` is one."""
    folder = tmp_path / "some bad images"
    folder.mkdir()
    good = two_images[0].read_bytes()
    contents = {"bomb.png": bomb(), "cut.jpg": good[:-600], "empty.png": b"", "film.jpg": b"\0\0\0\x18ftypmp42" * 9}
    for name, content in (contents | {"good.jpg": good}).items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.jpg")
    return folder


@pytest.mark.parametrize("name", BAD)
def test_compare_says_why_an_image_is_none(
    siamese: Siamese, exported: Path, bad: Path, tmp_path: Path, name: str
) -> None:
    picture = tmp_path / "a.png"
    found = siamese("compare", bad / "good.jpg", bad / name, "--model", exported, "--save", picture, "--quiet")
    if name == "cut.jpg":  # how many bytes are missing is the decoder's affair
        assert f"siamese: {bad / name}: damaged or truncated image (" in found.err
        assert found.err.endswith("; replace the file\n")
        assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    else:
        refused(found, f"{bad / name}: {BAD[name]}")
    assert not picture.exists()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_verify_marks_the_rows_of_bad_images_and_goes_on(
    siamese: Siamese, exported: Path, bad: Path, tmp_path: Path, suffix: str
) -> None:
    names = [*BAD, "good.jpg", "gone.jpg"]
    lines = ["left,right", *(f"good.jpg,{name}" for name in names), "cut.jpg,bomb.png"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    output = tmp_path / f"out{suffix}"
    options = ("--root", bad, "--model", exported, "-o", output, "--json")
    found = siamese("verify", tmp_path / "pairs.csv", *options)
    assert found.code == 0, found.err
    assert (found.json["pairs"], found.json["scored"], found.json["failed"]) == (8, 1, 7)
    assert "7 of 8 pairs have no score; first: " in found.err
    table = pd.read_csv(output) if suffix == ".csv" else pd.read_parquet(output)
    assert table["right"].tolist() == [*names, "bomb.png"]
    scored = (table["right"] == "good.jpg").tolist()
    assert (table["status"] == "scored").tolist() == scored
    assert table["similarity"].notna().tolist() == scored
    for name, words in BAD.items():
        detail = table.loc[table["right"] == name, "detail"].iloc[0]
        assert detail.startswith(f"{name}: {words.partition(' (')[0]}")
    assert "no such file" in table.loc[table["right"] == "gone.jpg", "detail"].iloc[0]


def test_embed_marks_bad_images_and_goes_on(siamese: Siamese, exported: Path, bad: Path, tmp_path: Path) -> None:
    found = siamese("embed", bad, "--model", exported, "-o", tmp_path / "out.parquet", "--json")
    assert found.code == 0, found.err
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "out.parquet").to_pylist()}
    assert found.json["failed"] == len(rows) - 1
    assert {"bomb.png", "cut.jpg", "empty.png", "film.jpg", "good.jpg"} <= set(rows)
    for name, row in rows.items():
        assert row["status"] == ("ok" if name == "good.jpg" else "unreadable"), name
        assert (row["embedding"] is None) == (name != "good.jpg"), name
    for name in BAD.keys() & rows.keys():
        assert BAD[name].partition(" (")[0] in rows[name]["detail"]


# a machine without torch


def without_torch(folder: Path, *arguments: object) -> Outcome:
    return outcome_of(python_without(folder / "hidden", TORCH, "-m", "siamese_cli", *arguments))


def test_a_model_with_an_export_needs_no_torch(
    siamese: Siamese, exported: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    given = ("compare", *two_images, "--model", exported, "--json")
    found = without_torch(tmp_path, *given)
    assert found.code == 0, found.err
    assert "torch" not in found.err
    reference = siamese(*given, "--runtime", "torch").json
    assert found.json["similarity"] == pytest.approx(reference["similarity"], abs=1e-5)
    assert (found.json["same"], found.json["threshold"]) == (reference["same"], reference["threshold"])


@pytest.mark.parametrize("command", ["compare", "verify", "embed"])
def test_a_model_without_an_export_where_torch_is_missing_says_what_to_do(
    model: Path, faces: Path, pairs: Path, two_images: tuple[Path, Path], tmp_path: Path, command: str
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model", ignore=shutil.ignore_patterns("export")))
    before = sorted(copy.rglob("*"))
    output = tmp_path / "out.parquet"
    given = {
        "compare": (*two_images, "--save", tmp_path / "a.png"),
        "verify": (pairs / "test.csv", "--root", faces, "-o", output),
        "embed": (faces, "-o", output),
    }
    found = without_torch(tmp_path, command, *given[command], "--model", copy)
    refused(
        found,
        f"{copy}: no export in {copy / EXPORT}, and torch is not installed here; run `siamese export {copy}` where "
        "torch is and copy that folder here, or pip install torch",
    )
    assert found.err.count("\n") == 1
    assert sorted(copy.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hidden", "model"]


def test_an_encoder_by_name_and_torch_by_wish_need_torch(
    exported: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    name = "timm/test_resnet@random"
    refused(
        without_torch(tmp_path, "compare", *two_images, "--model", name, "--threshold", 0.5),
        f"{name}: no such folder, and an encoder by name needs torch, which is not installed here; run `siamese "
        f"export {name} -o DIR` where torch is and give DIR as the model, or pip install torch",
    )
    refused(
        without_torch(tmp_path, "compare", *two_images, "--model", exported, "--runtime", "torch"),
        f"{exported}: is to run on torch (--runtime torch), which is not installed here; pip install torch",
    )


def test_faces_that_cannot_be_looked_for_without_torch_are_one_line(
    siamese: Siamese, two_images: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = siamese("export", "mobilefacenet@random", "-o", tmp_path / "export", "--no-timing", "--quiet")
    assert made.code == 0, made.err
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "bare"))
    given = ("compare", *two_images, "--model", tmp_path / "export", "--threshold", 0.5, "--quiet")
    found = without_torch(tmp_path, *given)
    assert found.err.startswith(f"siamese: face detection: no converted nets in {tmp_path / 'bare'}/face-detector/")
    words = "install torch and facenet-pytorch, which make them at first use, or copy this folder from a machine "
    assert found.err.endswith(f"; {words}where faces were aligned\n")
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert without_torch(tmp_path, *given, "--align", "no").code == 0


# an export that was changed


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit_manifest(path: Path) -> None:
    content = json.loads(path.read_text())
    content["card"]["operating_points"][0]["threshold"] = -1.0  # everybody would be let in
    path.write_text(json.dumps(content, indent=2))


CHANGED = "changed since it was exported"
DAMAGE = {
    "flipped weights": ("network.bin", flip, f"{CHANGED} (SHA-256 "),
    "edited graph": (
        "network.xml",
        lambda path: path.write_text(path.read_text().replace('strides="2, 2"', 'strides="1, 1"', 1)),
        f"{CHANGED} (SHA-256 ",
    ),
    "edited threshold": ("export.json", edit_manifest, f"{CHANGED}; "),
    "no weights": ("network.bin", Path.unlink, "cannot be read (No such file or directory); "),
    "no graph": ("network.xml", Path.unlink, "cannot be read (No such file or directory); "),
    "cut manifest": (
        "export.json",
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        "cannot be read as JSON (",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_changed_export_is_refused_by_every_command(
    siamese: Siamese,
    copied: Path,
    faces: Path,
    pairs: Path,
    two_images: tuple[Path, Path],
    tmp_path: Path,
    damage: str,
) -> None:
    name, harm, words = DAMAGE[damage]
    harm(copied / EXPORT / name)
    output = tmp_path / "out.parquet"
    for command in (
        ("compare", *two_images, "--save", tmp_path / "a.png"),
        ("verify", pairs / "test.csv", "--root", faces, "-o", output),
        ("embed", faces, "-o", output),
    ):
        found = siamese(*command, "--model", copied)
        assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found.err
        assert found.err.startswith(f"siamese: {copied / EXPORT / name}: {words}")
        assert found.err.endswith("export the model again\n")
    assert [path.name for path in tmp_path.iterdir()] == [copied.name]
    assert siamese("compare", *two_images, "--model", copied, "--runtime", "torch").code == 0
    assert siamese("export", copied, "--no-timing", "--quiet").code == 0
    assert siamese("compare", *two_images, "--model", copied).code == 0


def test_an_export_of_an_earlier_state_of_the_model_is_refused(
    siamese: Siamese, copied: Path, two_images: tuple[Path, Path]
) -> None:
    card = copied / "model.json"
    card.write_text(card.read_text() + "\n")
    refused(
        siamese("compare", *two_images, "--model", copied),
        f"{copied / EXPORT}: made from another state of the model ({card.absolute()} has changed since); run "
        "`siamese export` again",
    )


def test_compiled_graphs_that_were_damaged_are_compiled_again(
    siamese: Siamese,
    exported: Path,
    two_images: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    given = ("compare", *two_images, "--model", exported, "--runtime", "openvino", "--json", "--quiet")
    expected = siamese(*given).json["similarity"]
    (blob,) = (tmp_path / "cache").rglob("*.blob")
    whole = blob.read_bytes()
    # Numbers among the weights: OpenVINO would not notice, and give other similarities.
    harmed = np.frombuffer(whole, np.uint8).copy()
    harmed[len(whole) // 4 : len(whole) // 2 : 101] ^= 0x40
    blob.chmod(0o600)
    for content in (harmed.tobytes(), whole[: len(whole) // 2], b""):
        blob.chmod(0o600)
        blob.write_bytes(content)
        found = siamese(*given)
        assert (found.code, found.err) == (0, "")
        assert found.json["similarity"] == pytest.approx(expected, abs=1e-6)
        assert len(blob.read_bytes()) > len(whole) // 2
        assert blob.read_bytes() != content


# faces


@pytest.fixture(scope="module")
def verifier(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a model that aligns faces."""
    from siamese_cli.main import run

    folder = tmp_path_factory.mktemp("aligning") / "export"
    assert (
        run(["export", f"mobilefacenet@{real_data / CHECKPOINT}", "-o", str(folder), "--no-timing", "--quiet"]) == 0
    )
    return folder


@pytest.fixture
def lfw(real_data: Path, tmp_path: Path) -> Path:
    """Two people, a picture of both (one small in the middle, the other large at the edge), and a wall."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("Tony_Blair_0034", "Tony_Blair_0098", "Colin_Powell_0001", "Colin_Powell_0004"):
        shutil.copy(real_data / "data" / "lfw" / name[:-5] / f"{name}.jpg", folder)
    both = Image.new("RGB", (700, 400), (90, 90, 90))
    with Image.open(folder / "Tony_Blair_0034.jpg") as small, Image.open(folder / "Colin_Powell_0001.jpg") as large:
        both.paste(small.resize((150, 150)), (275, 125))
        both.paste(large.resize((300, 300)), (400, 0))
    both.save(folder / "both.png")
    Image.new("RGB", (200, 200), (128, 128, 128)).save(folder / "wall.png")
    return folder


@pytest.mark.real_data
def test_an_image_without_a_face_ends_a_comparison_and_marks_rows_elsewhere(
    siamese: Siamese, verifier: Path, lfw: Path, tmp_path: Path
) -> None:
    one, wall = lfw / "Tony_Blair_0098.jpg", lfw / "wall.png"
    for images in ((wall, one), (one, wall), (wall, wall)):
        refused(
            siamese("compare", *images, "--model", verifier, "--threshold", 0.4),
            f"{wall}: no face found; give a clearer image, or --align no for one that is cropped already",
        )
    lines = ["left,right", f"{one.name},Tony_Blair_0034.jpg", f"{one.name},{wall.name}", f"{wall.name},{wall.name}"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    found = siamese("verify", tmp_path / "pairs.csv", "--root", lfw, "--model", verifier, "-o", tmp_path / "out.csv")
    assert found.code == 0, found.err
    assert "2 of 3 pairs have no score; first: " in found.err
    assert "no face found" in found.err
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["status"].tolist()[0] == "scored"
    assert table["similarity"].notna().tolist() == [True, False, False]
    assert table["detail"][1:].str.contains("no face found").all()
    found = siamese("embed", lfw, "--model", verifier, "-o", tmp_path / "out.parquet")
    assert found.code == 0, found.err
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "out.parquet").to_pylist()}
    assert [name for name, row in rows.items() if row["status"] != "ok"] == ["wall.png"]
    assert (rows["wall.png"]["status"], rows["wall.png"]["embedding"]) == ("no_face", None)
    assert rows["wall.png"]["detail"] == "no face found"


@pytest.mark.real_data
def test_of_two_faces_every_command_takes_the_one_that_is_asked_for(
    siamese: Siamese, verifier: Path, lfw: Path, tmp_path: Path
) -> None:
    blair, powell = "Tony_Blair_0098.jpg", "Colin_Powell_0004.jpg"
    (tmp_path / "pairs.csv").write_text(f"left,right\nboth.png,{blair}\nboth.png,{powell}\n")
    words = {"largest": "the largest", "center": "the one nearest the middle"}
    for face, (who, other) in {"largest": (powell, blair), "center": (blair, powell)}.items():
        chosen = ("--model", verifier, "--face", face)
        verdicts = {}
        for name in (who, other):
            text = siamese("compare", lfw / "both.png", lfw / name, *chosen, "--threshold", 0.4).out
            assert f"{lfw / 'both.png'}: 2 faces, {words[face]} taken, box (" in text
            verdicts[name] = text.partition(":")[0]
        assert verdicts == {who: "same", other: "different"}
        output = tmp_path / f"{face}.csv"
        done = siamese("verify", tmp_path / "pairs.csv", "--root", lfw, *chosen, "-o", output)
        assert done.code == 0, done.err
        scores = dict(zip([blair, powell], pd.read_csv(output)["similarity"], strict=True))
        assert scores[who] > 0.4 > scores[other]
        done = siamese("embed", lfw, *chosen, "-o", tmp_path / f"{face}.parquet")
        assert done.code == 0, done.err
        table = pq.read_table(tmp_path / f"{face}.parquet").to_pandas().set_index("path")["embedding"]
        for name in (blair, powell):
            assert float(table["both.png"] @ table[name]) == pytest.approx(scores[name], abs=1e-5)
