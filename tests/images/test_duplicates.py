from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from siamese.images import duplicates
from siamese.images.audit import image_findings
from siamese.images.duplicates import close_hashes, exact_duplicates, fingerprints, near_duplicates
from siamese.pairing.audit import Problem

Write = Callable[[Path, NDArray[np.uint8]], Path]


def save(path: Path, pixels: NDArray[np.uint8], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def catalog(folder: Path) -> pd.DataFrame:
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    return pd.DataFrame({"path": paths, "identity": [path.partition("/")[0] for path in paths]})


def pairs_found(folder: Path, **options: float) -> set[tuple[str, str]]:
    images = catalog(folder)
    prints = fingerprints(folder, list(images["path"]))
    left, right = near_duplicates(prints, pd.factorize(images["identity"])[0], **options)  # type: ignore[arg-type]
    return {(images["path"][one], images["path"][other]) for one, other in zip(left, right, strict=True)}


COPIES = {
    "compressed": lambda image: image,
    "halved": lambda image: image.resize((image.width // 2, image.height // 2)),
    "enlarged": lambda image: image.resize((image.width * 2, image.height * 2)),
    "grey": lambda image: image.convert("L"),
    "darker": lambda image: image.point(lambda value: value * 0.8),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_another_copy_of_a_picture_is_found_across_identities(
    tmp_path: Path, portraits: list[NDArray[np.uint8]], kind: str, suffix: str
) -> None:
    for number, pixels in enumerate(portraits):
        save(tmp_path / f"p{number}" / "1.png", pixels)
    copy = COPIES[kind](Image.fromarray(portraits[2]))
    (tmp_path / "z").mkdir()
    copy.save(tmp_path / "z" / f"1{suffix}")
    assert pairs_found(tmp_path) == {("p2/1.png", f"z/1{suffix}")}


def test_different_portraits_are_no_copies(tmp_path: Path, portraits: list[NDArray[np.uint8]]) -> None:
    for number, pixels in enumerate(portraits):
        save(tmp_path / f"p{number}" / "1.png", pixels)
    assert pairs_found(tmp_path) == set()
    assert len(pairs_found(tmp_path, distance=32, correlation=-1)) > 0, "the measure is what tells them apart"


def test_a_copy_within_an_identity_is_what_augmentation_makes(
    tmp_path: Path, portraits: list[NDArray[np.uint8]]
) -> None:
    save(tmp_path / "a" / "1.png", portraits[0])
    save(tmp_path / "a" / "2.jpg", portraits[0])
    assert pairs_found(tmp_path) == set()


def test_many_copies_give_each_a_pair_and_not_each_with_each(
    tmp_path: Path, portraits: list[NDArray[np.uint8]]
) -> None:
    for number in range(6):
        save(tmp_path / f"p{number // 2}" / f"{number}.png", portraits[0])
    assert pairs_found(tmp_path) == {("p0/0.png", f"p{number // 2}/{number}.png") for number in (2, 3, 4, 5)}


def test_hashes_that_differ_are_joined_by_images_of_two_identities(tmp_path: Path) -> None:
    hashes = np.array([0, 0, 1, 1], np.uint64)
    thumbnails = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), (4, 1, 1))
    prints = duplicates.Fingerprints(hashes, thumbnails, {})
    found = {tuple(map(tuple, np.transpose(near_duplicates(prints, np.array(groups))))) for groups in ([0, 0, 0, 1],)}
    assert found == {((0, 3), (2, 3))}
    left, right = near_duplicates(prints, np.array([0, 1, 0, 0]))
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == {(0, 1), (1, 2)}


def test_pictures_without_structure_are_no_copies_of_each_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, level in enumerate((0, 90, 90, 250)):
        noise = rng.integers(0, 3, (80, 80, 3))
        save(tmp_path / f"p{number}" / "1.png", (level + noise).astype(np.uint8))
    assert pairs_found(tmp_path, distance=32) == set()


@pytest.mark.parametrize(("step", "same"), [(1, False), (40, True)])
def test_a_single_grey_level_is_no_structure(step: int, same: bool) -> None:
    halves = np.repeat([0, step], 128).reshape(16, 16)
    thumbnails = np.stack([40 + halves, 200 + halves]).astype(np.uint8)
    prints = duplicates.Fingerprints(np.zeros(2, np.uint64), thumbnails, {})
    left, _ = near_duplicates(prints, np.arange(2))
    assert (len(left) == 1) is same


def test_a_turned_photograph_is_the_same_as_its_upright_copy(
    tmp_path: Path, portraits: list[NDArray[np.uint8]]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    save(tmp_path / "a" / "1.jpg", np.rot90(portraits[1]).copy(), exif=exif)
    save(tmp_path / "b" / "1.png", portraits[1])
    assert pairs_found(tmp_path) == {("a/1.jpg", "b/1.png")}


@pytest.mark.parametrize("distance", [0, 1, 4, 6, 9])
def test_close_hashes_are_those_of_the_whole_matrix(distance: int) -> None:
    rng = np.random.default_rng(distance)
    seeds = rng.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = np.repeat(seeds, 12)
    for _ in range(6):  # near ones too, at all distances up to twelve
        flips = np.uint64(1) << rng.integers(0, 64, len(hashes)).astype(np.uint64)
        hashes = np.where(rng.random(len(hashes)) < 0.7, hashes ^ flips, hashes)
    hashes = np.unique(hashes)
    low, high = close_hashes(hashes, distance)
    matrix = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = {(i, j) for i, j in np.argwhere(matrix <= distance).tolist() if i < j}
    found = list(zip(low.tolist(), high.tolist(), strict=True))
    assert set(found) == expected
    assert len(found) == len(expected)
    assert distance == 0 or expected


def test_a_distance_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="distance 33: expected 0 to 32"):
        close_hashes(np.array([1], np.uint64), 33)


def test_no_hashes_have_no_pairs() -> None:
    low, high = close_hashes(np.empty(0, np.uint64), 6)
    assert len(low) == len(high) == 0


def test_files_of_one_content_are_told_from_those_of_one_size(tmp_path: Path) -> None:
    contents = {"a": b"one", "b": b"two", "c": b"one", "d": b"longer", "e": b"one", "f": b"two"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert exact_duplicates(tmp_path, list(contents)).tolist() == [0, 1, 0, 3, 0, 1]


def test_only_files_that_may_be_alike_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_bytes(b"xy" if name == "d" else b"x")
    read: list[str] = []
    digest = duplicates._digest
    monkeypatch.setattr(duplicates, "_digest", lambda path: (read.append(path.name), digest(path))[1])
    exact_duplicates(tmp_path, ["a", "b", "c", "d"], np.array([7, 7, 8, 9], np.uint64), workers=1)
    assert read == ["a", "b"]


def test_a_data_set_without_problems_has_no_findings(tmp_path: Path, portraits: list[NDArray[np.uint8]]) -> None:
    for number, pixels in enumerate(portraits):
        save(tmp_path / f"p{number // 2}" / f"{number}.png", pixels)
    found = image_findings(tmp_path, catalog(tmp_path))
    assert found.findings.problems == ()
    assert found.findings.counts == {}
    assert found.readable.all()


def test_each_kind_of_problem_of_files_is_named(tmp_path: Path, portraits: list[NDArray[np.uint8]]) -> None:
    save(tmp_path / "a" / "1.png", portraits[0])
    save(tmp_path / "b" / "1.png", portraits[1])
    save(tmp_path / "c" / "1.jpg", portraits[0])
    for copy in ("a/2.png", "b/2.png"):
        (tmp_path / copy).write_bytes((tmp_path / "a/1.png").read_bytes())
    (tmp_path / "b" / "3.jpg").write_bytes((tmp_path / "c/1.jpg").read_bytes()[:400])
    (tmp_path / "b" / "4.png").touch()
    images = catalog(tmp_path)
    images.loc[len(images)] = ["b/gone.png", "b"]
    found = image_findings(tmp_path, images)
    problems = {(problem.kind, problem.where): problem.detail for problem in found.findings.problems}
    assert problems.pop(("unreadable", "b/3.jpg")).startswith("damaged or truncated image")
    assert problems == {
        ("missing_image", "b/gone.png"): f"no such file below {tmp_path}",
        ("unreadable", "b/4.png"): "the file is empty (0 bytes); replace it",
        ("exact_duplicate", "a/2.png"): "same content as a/1.png, both of 'a'",
        ("exact_duplicate", "b/2.png"): "same content as a/1.png, which is of 'a', this one of 'b'",
        ("near_duplicate", "c/1.jpg"): problems[("near_duplicate", "c/1.jpg")],
    }
    assert "same picture as a/1.png (" in problems["near_duplicate", "c/1.jpg"]
    assert problems["near_duplicate", "c/1.jpg"].endswith("which is of 'a', this one of 'c'")
    assert list(images["path"][~found.readable]) == ["b/3.jpg", "b/4.png", "b/gone.png"]


def test_a_catalog_of_which_nothing_is_there_is_all_missing(tmp_path: Path) -> None:
    images = pd.DataFrame({"path": ["a/1.jpg", "b/1.jpg"], "identity": ["a", "b"]})
    found = image_findings(tmp_path, images, limit=1)
    assert found.findings.counts == {"missing_image": 2}
    assert found.findings.problems == (Problem("missing_image", "a/1.jpg", f"no such file below {tmp_path}"),)


def test_files_beyond_one_chunk_keep_their_order(
    tmp_path: Path, portraits: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "CHUNK", 2)
    names = [f"{number}.png" for number in range(len(portraits))]
    for name, pixels in zip(names, portraits, strict=True):
        save(tmp_path / name, pixels)
    together = fingerprints(tmp_path, names)
    alone = np.concatenate([fingerprints(tmp_path, [name]).hashes for name in names])
    assert np.array_equal(together.hashes, alone)
    assert len(np.unique(alone)) == len(names)
