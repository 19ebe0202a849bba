import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siamese.config import make_train_config
from siamese.errors import DataError
from siamese.images.decode import decode
from siamese.images.input_spec import InputSpec
from siamese.training.data import RunData, read_run_data
from siamese.training.pairs import BatchKind, prepare_pairs
from siamese.training.plans import IdentityPlan, TuplePlan

from .conftest import SPEC, make_data


@pytest.fixture
def folder(people: Path, tmp_path: Path) -> Path:
    """A copy of the rendered identities whose files may be spoilt."""
    copy = tmp_path / "people"
    for image in people.rglob("*.jpg"):
        target = copy / image.relative_to(people)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(image.read_bytes())
    return copy


def spoil(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"no image")


def read(data: Path, folder: Path, kind: BatchKind, spoilt: tuple[str, ...] = (), **values: Any) -> RunData:
    config = make_train_config({"data": data, "cache": "off", **values})
    pairs = prepare_pairs(config, kind=kind, folder=folder)
    spoil(data, *spoilt)
    return read_run_data(config, SPEC, pairs, "cpu", folder)


def names_of(data: RunData) -> list[str]:
    return [Path(data.paths[row]).parts[0] for row in data.rows]


def test_tuples_are_rows_of_the_pixels(people: Path, tmp_path: Path) -> None:
    config, data = make_data(people, tmp_path, num_pairs=20)
    assert data.tuples is not None
    assert (data.size, len(data.tuples)) == (20, 20)
    assert (data.labels, data.identities) == (None, ())
    np.testing.assert_array_equal(data.rows, np.unique(data.tuples.rows))
    row = int(data.tuples.rows[3, 1])
    np.testing.assert_array_equal(data.cache.pixels[row], SPEC.resize(decode(people / data.paths[row])))
    assert isinstance(data.plan(config, "pairs", singles=False), TuplePlan)


def test_every_image_to_train_on_has_the_label_of_its_identity(people: Path, tmp_path: Path) -> None:
    config, data = make_data(people, tmp_path, loss="cross_entropy")
    assert data.labels is not None
    assert data.tuples is None
    assert (np.diff(data.rows) > 0).all()
    assert [data.identities[label] for label in data.labels] == names_of(data)
    assert data.size == len(data.rows)
    assert list(data.identities) == sorted(data.identities)
    assert isinstance(data.plan(config, "identities", singles=True), IdentityPlan)


def test_held_out_images_have_the_labels_of_training(people: Path, tmp_path: Path) -> None:
    _, data = make_data(people, tmp_path, loss="cross_entropy", val_images=2)
    assert data.held_out is not None
    named = [data.identities[label] for label in data.held_out.labels]
    assert named == [Path(data.paths[row]).parts[0] for row in data.held_out.rows]
    assert not set(data.held_out.rows) & set(data.rows)


@pytest.mark.parametrize("kind", ["pairs", "identities"])
def test_an_unreadable_image_is_left_out_and_said(
    folder: Path, tmp_path: Path, kind: BatchKind, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = tuple(f"person_00{person}/001.jpg" for person in range(1, 8))
    found = read(folder, tmp_path / "run", kind, spoilt, num_pairs=60) if kind == "pairs" else read(
        folder, tmp_path / "run", kind, spoilt
    )  # fmt: skip
    lost = {found.paths.index(name) for name in spoilt if name in found.paths}
    assert lost
    assert not lost & set(found.rows.tolist())
    assert not lost & set(found.val.rows.ravel().tolist())
    message = rf"^{len(lost)} unreadable images, first: .*001\.jpg"
    assert any(re.match(message, said) for said in caplog.messages), caplog.messages


def test_identities_of_which_training_has_no_image_left_are_not_asked_of_the_head(
    folder: Path, tmp_path: Path
) -> None:
    all_of_one = tuple(f"person_003/00{number}.jpg" for number in range(1, 7))
    probe = read(folder, tmp_path / "probe", "identities", val_images=2)
    assert probe.held_out is not None
    held = {probe.paths[row] for row in probe.held_out.rows}
    trained = tuple(name for name in all_of_one if name not in held)
    found = read(folder, tmp_path / "run", "identities", trained, val_images=2)
    assert "person_003" not in found.identities
    assert found.held_out is not None
    assert len(found.held_out.rows) == 22
    assert [found.identities[label] for label in found.held_out.labels] == [
        Path(found.paths[row]).parts[0] for row in found.held_out.rows
    ]


def test_nothing_to_train_on_or_to_judge_is_refused(folder: Path, tmp_path: Path) -> None:
    val = folder.parent / "val.csv"
    one, other = (f"person_001/00{image}.jpg" for image in (1, 2)), "person_002/001.jpg"
    first, second = one
    val.write_text(f"left,right,same\n{first},{second},1\n{first},{other},0\n", encoding="utf-8")
    probe = read(folder, tmp_path / "probe", "identities", val_images=2, val_pairs=val)
    assert probe.held_out is not None
    held = tuple(probe.paths[row] for row in probe.held_out.rows)
    message = (
        "--val-images: none of 20 held-out images can be used; `siamese audit` says why, and --val-share holds "
        "identities out instead"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(folder, tmp_path / "run", "identities", held, val_images=2, val_pairs=val)
    trained = tuple(probe.paths[row] for row in probe.rows)
    # The images that cannot be read any more are in no catalog; two of the other four of each are held out now.
    with pytest.raises(DataError, match=r"^none of 20 images to train on can be used; `siamese audit` says why$"):
        read(folder, tmp_path / "run", "identities", trained, val_images=2, val_pairs=val)


def test_validation_needs_both_kinds_of_pairs(folder: Path, tmp_path: Path) -> None:
    val = tmp_path / "val.csv"
    val.write_text("left,right,same\nperson_001/001.jpg,person_001/002.jpg,1\n", encoding="utf-8")
    message = r"^the validation pairs must hold genuine and impostor pairs; give others with --val-pairs$"
    with pytest.raises(DataError, match=message):
        read(folder, tmp_path / "run", "pairs", val_pairs=val)
    assert not (tmp_path / "run" / "pixels.bin").exists()


def test_single_images_can_be_left_out_with_their_identities(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="siamese")
    for name in ("person_001", "person_004"):
        for image in sorted((folder / name).iterdir())[1:]:
            image.unlink()
    val = tmp_path / "val.csv"
    rows = ["person_011/001.jpg,person_011/002.jpg,1", "person_011/001.jpg,person_012/002.jpg,0"]
    val.write_text("\n".join(["left,right,same", *rows]) + "\n", encoding="utf-8")
    data = read(folder, tmp_path / "run", "identities", val_pairs=val)
    assert len(data.identities) == 10
    fewer = data.without_singles()
    assert caplog.messages[-1] == "2 identities with a single image are left out: the loss has no use for them"
    assert fewer.labels is not None
    assert [fewer.identities[label] for label in fewer.labels] == names_of(fewer)
    assert set(data.identities) - set(fewer.identities) == {"person_001", "person_004"}
    assert (len(fewer.rows), len(data.rows)) == (48, 50)
    assert fewer.without_singles() is fewer


def test_tuples_have_no_singles_to_leave_out(people: Path, tmp_path: Path) -> None:
    _, data = make_data(people, tmp_path, num_pairs=20)
    assert data.without_singles() is data


def test_images_looked_at_as_they_are_hold_those_of_training_where_means_are_asked_for(
    people: Path, tmp_path: Path
) -> None:
    _, data = make_data(people, tmp_path, loss="cross_entropy", val_images=2)
    assert data.held_out is not None
    few, all_rows = data.plain_rows(training=False), data.plain_rows(training=True)
    assert set(few) == set(data.val.rows.ravel()) | set(data.held_out.rows)
    assert set(all_rows) == set(few) | set(data.rows)
    assert (np.diff(all_rows) > 0).all()


def test_another_input_is_another_size(people: Path, tmp_path: Path) -> None:
    config = make_train_config({"data": people, "cache": "off", "num_pairs": 10})
    pairs = prepare_pairs(config, kind="pairs", folder=tmp_path)
    assert read_run_data(config, InputSpec(size=(20, 24)), pairs, "cpu", tmp_path).cache.pixels.shape[1:] == (
        20,
        24,
        3,
    )
