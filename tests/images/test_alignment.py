import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from siamese.errors import DataError, OptionError
from siamese.images import alignment
from siamese.images.alignment import (
    COLUMNS,
    REPORT,
    AlignJob,
    align_chunk,
    align_folder,
    failed_alignments,
    write_crop,
)
from siamese.images.decode import decode
from siamese.images.detector import FaceDetector
from siamese.images.faces import align_face, choose_face

Write = Callable[[Path, NDArray[np.uint8]], Path]
BLANK = np.full((60, 80, 3), 127, np.uint8)


@pytest.fixture
def source(tmp_path: Path, portraits: list[NDArray[np.uint8]], write_image: Write) -> Path:
    """Four faces at several depths, one image without a face, and one that is none."""
    root = tmp_path / "photo graphs"
    for path, portrait in zip(
        ("zoe/1.png", "ada/2.jpg", "ada/deep/er/3.png", "ödön/日本.pgm"), portraits[:4], strict=True
    ):
        write_image(root / path, portrait[..., 0] if path.endswith("pgm") else portrait)
    write_image(root / "zoe" / "blank.png", BLANK)
    (root / "ada" / "broken.jpg").write_bytes((root / "ada" / "2.jpg").read_bytes()[:700])
    (root / "ada" / "notes.txt").write_text("x")
    return root


def read_report(target: Path) -> pd.DataFrame:
    return pd.read_csv(target / REPORT).set_index("path")


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_each_image_has_a_row_and_each_face_a_crop(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "crops"
    frame = align_folder(AlignJob(source, target), workers=1)
    assert list(frame.columns) == COLUMNS
    assert frame[["path", "status"]].to_numpy().tolist() == [
        ["ada/2.jpg", "ok"],
        ["ada/broken.jpg", "unreadable"],
        ["ada/deep/er/3.png", "ok"],
        ["zoe/1.png", "ok"],
        ["zoe/blank.png", "no_face"],
        ["ödön/日本.pgm", "ok"],
    ]
    crops = {"ada/2.jpg", "ada/deep/er/3.png", "zoe/1.png", "ödön/日本.pgm"}
    assert files_below(target) == crops | {REPORT}
    assert all(decode(target / crop).shape == (112, 112, 3) for crop in crops)


def test_the_report_tells_what_was_found(source: Path, tmp_path: Path, detector: FaceDetector) -> None:
    target = tmp_path / "crops"
    frame = align_folder(AlignJob(source, target, face="largest"), workers=1)
    report = read_report(target)
    image = decode(source / "zoe" / "1.png")
    face = choose_face(detector.detect([image])[0], image.shape, "largest")
    assert face is not None
    row = report.loc["zoe/1.png"]
    np.testing.assert_allclose(row[["left", "top", "right", "bottom"]].astype(float), face.box, atol=0.006)
    marks = row[COLUMNS[COLUMNS.index("left_eye_x") : COLUMNS.index("template")]].astype(float)
    np.testing.assert_allclose(marks.to_numpy().reshape(5, 2), face.landmarks, atol=0.006)
    assert (row["faces"], row["template"], row["face"]) == (1, "arcface-112", "largest")
    assert row["score"] == pytest.approx(face.score, abs=1e-4)
    np.testing.assert_array_equal(decode(target / "zoe" / "1.png"), align_face(image, face, "arcface-112"))
    broken, blank = report.loc["ada/broken.jpg"], report.loc["zoe/blank.png"]
    assert re.match(r".*ada/broken\.jpg: .*(damaged|cannot be read)", str(broken["detail"]))
    assert (blank["detail"], blank["faces"]) == ("no face found", 0)
    assert pd.isna(broken["faces"])
    assert report.loc[["ada/broken.jpg", "zoe/blank.png"], ["score", "left", "nose_x"]].isna().all(axis=None)
    assert failed_alignments(target) == {"ada/broken.jpg": broken["detail"], "zoe/blank.png": "no face found"}
    assert frame["faces"].dtype == "Int64"
    assert frame["score"].dtype == frame["left_eye_x"].dtype == np.float64


def test_the_template_decides_the_size(source: Path, tmp_path: Path) -> None:
    frame = align_folder(AlignJob(source, tmp_path / "crops", template="mtcnn-160"), workers=1)
    assert set(frame["template"]) == {"mtcnn-160"}
    assert decode(tmp_path / "crops" / "zoe" / "1.png").shape == (160, 160, 3)


def test_the_choice_of_face_is_followed(
    tmp_path: Path, portraits: list[NDArray[np.uint8]], write_image: Write, detector: FaceDetector
) -> None:
    small = np.asarray(Image.fromarray(portraits[1]).resize((72, 72), Image.Resampling.BOX))
    canvas = np.full((144, 400, 3), 127, np.uint8)
    canvas[:, :144], canvas[36:108, 170:242] = portraits[0], small
    write_image(tmp_path / "in" / "two.png", canvas)
    assert len(detector.detect([canvas])[0]) == 2
    middles = {}
    for how in ("largest", "center"):
        frame = align_folder(AlignJob(tmp_path / "in", tmp_path / how, face=how), workers=1)
        assert frame["faces"].tolist() == [2]
        middles[how] = float(frame["left"].iloc[0] + frame["right"].iloc[0]) / 2
    assert middles["largest"] < 144 < 170 < middles["center"] < 242


def test_processes_give_the_same_bytes_as_one(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "CHUNK", 2)
    one, two = tmp_path / "one", tmp_path / "two"
    first = align_folder(AlignJob(source, one), workers=1)
    second = align_folder(AlignJob(source, two), workers=2)
    pd.testing.assert_frame_equal(first, second)
    assert files_below(one) == files_below(two)
    for path in files_below(one):
        assert (one / path).read_bytes() == (two / path).read_bytes(), path


def test_a_chunk_of_unreadable_images_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    rows = align_chunk(AlignJob(tmp_path, tmp_path / "out"), ["a.jpg", "gone.jpg"])
    assert [row["status"] for row in rows] == ["unreadable", "unreadable"]
    assert str(rows[1]["detail"]).endswith("gone.jpg: no such file; check the path")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".bmp", ".tif", ".gif", ".ppm", ".pgm", ".pnm"])
def test_a_crop_keeps_its_images_format(tmp_path: Path, suffix: str) -> None:
    # A smooth image: the loss of a lossy format stays small.
    ramp = np.linspace(60, 190, 112)
    crop = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128.0), axis=2).astype(np.uint8)
    path = tmp_path / "deep" / f"crop{suffix}"
    write_crop(path, crop)
    form = {".jpg": "JPEG", ".JPEG": "JPEG", ".tif": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".pnm": "PPM"}
    with Image.open(path) as image:
        assert image.format == form.get(suffix, suffix[1:].upper())
        assert image.mode == {".pgm": "L", ".gif": "P"}.get(suffix, "RGB")
    if suffix != ".pgm":
        assert np.abs(decode(path).astype(int) - crop).mean() < (8 if suffix == ".gif" else 2)


def test_jpeg_crops_keep_their_colour_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((112, 112, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 255, 255
    write_crop(tmp_path / "a.jpg", stripes)
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - stripes).mean() < 10


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ("data", "data", r"data: lies inside the source .*data; choose another folder for the crops$"),
        ("data", "data/crops", r"data/crops: lies inside the source .*data; choose another folder for the crops$"),
        ("data/raw", "data", r"data: holds the source .*data/raw; choose another folder for the crops$"),
        ("data", "link/crops", r"link/crops: lies inside the source .*data; choose another folder for the crops$"),
    ],
)
def test_source_and_target_must_not_overlap(
    tmp_path: Path, write_image: Write, inside: str, outside: str, message: str
) -> None:
    write_image(tmp_path / inside / "1.png", BLANK)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    before = files_below(tmp_path)
    with pytest.raises(DataError, match=message):
        align_folder(AlignJob(tmp_path / inside, tmp_path / outside))
    assert files_below(tmp_path) == before


def test_a_neighbour_whose_name_begins_alike_is_no_overlap(tmp_path: Path, write_image: Write) -> None:
    write_image(tmp_path / "data" / "1.png", BLANK)
    assert len(align_folder(AlignJob(tmp_path / "data", tmp_path / "data2"), workers=1)) == 1


def test_a_missing_or_empty_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder of images$"):
        align_folder(AlignJob(tmp_path / "gone", tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no images below it$"):
        align_folder(AlignJob(tmp_path / "empty", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_a_file_is_an_error(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match=r"out: is a file, expected a folder for the crops; choose another$"):
        align_folder(AlignJob(source, tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "workers", "message"),
    [
        ({"template": "arcface"}, None, "unknown template 'arcface': did you mean 'arcface-112'? known: arcface-112"),
        ({"face": "biggest"}, None, "unknown face choice 'biggest': did you mean 'largest'? known: auto, center"),
        ({}, 0, "--workers 0: expected 1 or more"),
    ],
)
def test_a_slip_in_an_option_leaves_an_earlier_report_alone(
    source: Path, tmp_path: Path, options: dict[str, str], workers: int | None, message: str
) -> None:
    report = tmp_path / "crops" / REPORT
    report.parent.mkdir()
    report.write_text("what an earlier run wrote")
    with pytest.raises(OptionError, match=f"^{re.escape(message)}"):
        align_folder(AlignJob(source, tmp_path / "crops", **options), workers=workers)  # type: ignore[arg-type]
    assert report.read_text() == "what an earlier run wrote"


def test_without_a_report_nothing_failed(tmp_path: Path) -> None:
    assert failed_alignments(tmp_path) == {}
    (tmp_path / REPORT).write_text("some,other\nfile,1\n")
    assert failed_alignments(tmp_path) == {}


def test_any_name_and_reason_of_a_report_is_read_back(tmp_path: Path) -> None:
    names = ["a, b.jpg", 'say "hi".jpg', "two\nlines.jpg", "NA", "nan", " ünïcode 日本.png", "7", "ok.jpg"]
    rows = {"path": names, "status": ["no_face", *["unreadable"] * 6, "ok"], "detail": ["", *names[:6], "fine"]}
    pd.DataFrame(rows).reindex(columns=COLUMNS).to_csv(tmp_path / REPORT, index=False, lineterminator="\n")
    assert failed_alignments(tmp_path) == dict(zip(names[:7], rows["detail"], strict=False))


@pytest.mark.parametrize(
    "data", [b"", b"path,status\na,b\n", b"path,status,detail\na,b\n", b"\xff\xfe,\n", b"\x89PNG\r\n\0"]
)
def test_another_file_of_that_name_says_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / REPORT).write_bytes(data)
    assert failed_alignments(tmp_path) == {}


@pytest.mark.real_data
def test_lfw_photographs_are_aligned(real_data: Path, tmp_path: Path) -> None:
    for name in ("Aaron_Eckhart", "Angelina_Jolie", "Colin_Powell"):
        photograph = real_data / "data" / "lfw" / name / f"{name}_0001.jpg"
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / photograph.name).write_bytes(photograph.read_bytes())
    frame = align_folder(AlignJob(tmp_path / "in", tmp_path / "out"), workers=1)
    assert frame["status"].tolist() == ["ok"] * 3
    assert frame["path"].iloc[0] == "Aaron_Eckhart/Aaron_Eckhart_0001.jpg"
    assert all(decode(tmp_path / "out" / path).std() > 20 for path in frame["path"])
