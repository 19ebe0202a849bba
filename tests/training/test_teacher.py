"""A student learns what a teacher makes of the same images."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.config import TrainConfig, make_train_config
from siamese.encoders.registry import create_encoder
from siamese.errors import DataError, OptionError
from siamese.evaluation.operating_points import choose_operating_point
from siamese.model.embedding import embed_pixels
from siamese.model.folder import load_model
from siamese.training.fit import train
from siamese.training.run import Run
from siamese.training.teacher import embed_files, load_teacher

STUDENT = {"encoder": "timm/test_resnet@random", "input_size": (32, 32), "head": "linear", "augment": "light"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small encoder: what it knows is arbitrary, but always the same."""
    from safetensors.torch import save_file

    torch.manual_seed(5)
    file = tmp_path_factory.mktemp("weights") / "teacher.safetensors"
    save_file(create_encoder("timm/test_convnext@random").network.state_dict(), str(file))  # type: ignore[arg-type]
    return file


@pytest.fixture
def options(people: Path, weights: Path, tmp_path: Path) -> dict[str, object]:
    teacher = f"timm/test_convnext@{weights}"
    return {
        "data": people,
        "teacher": teacher,
        "loss": "distill",
        "cache": str(tmp_path / "cache"),
        "val_share": 0.3,
        "epochs": 2,
        "batch_size": 16,
        **STUDENT,
    }


def lessons_of(config: TrainConfig, folder: Path) -> tuple[Run, list[str]]:
    run = Run(config, folder, "cpu")
    return run, [run.data.paths[row] for row in run.data.rows]


def test_the_lessons_are_the_teachers_embeddings_of_the_images_as_they_are(
    options: dict[str, object], tmp_path: Path
) -> None:
    config = make_train_config(options)
    run, _ = lessons_of(config, tmp_path / "model")
    assert run.lessons is not None
    teacher = load_teacher(str(options["teacher"]))
    size = teacher.input_spec.size
    for row in run.data.rows[:5]:
        image = Image.open(run.pairs.root / run.data.paths[row]).convert("RGB")
        pixels = teacher.input_spec.resize(np.asarray(image))[None]
        assert pixels.shape == (1, *size, 3)
        alone = embed_pixels(teacher.network, pixels)
        assert np.allclose(run.lessons.take(np.array([row])).numpy(), alone, atol=1e-5)
    batch = run.batches(0)[0]
    assert batch.teacher is not None
    assert torch.equal(batch.teacher, run.lessons.take(batch.rows.numpy()))
    run.close()


def test_the_embedding_is_as_wide_as_the_teachers(options: dict[str, object], tmp_path: Path) -> None:
    run = Run(make_train_config(options), tmp_path / "model", "cpu")
    assert run.network.embedding_dim == load_teacher(str(options["teacher"])).feature_dim
    run.close()
    with pytest.raises(OptionError, match="embeddings of 7 have no cosine to the teacher's"):
        Run(make_train_config(options | {"embedding_dim": 7}), tmp_path / "other", "cpu")
    run = Run(
        make_train_config(options | {"embedding_dim": 7, "loss": "distill+cosine=0"}), tmp_path / "relations", "cpu"
    )
    assert run.network.embedding_dim == 7
    run.close()


def test_they_are_computed_once_and_kept_from_run_to_run(
    options: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_train_config(options)
    first, _ = lessons_of(config, tmp_path / "one")
    with caplog.at_level(logging.INFO, logger="siamese"):
        second, _ = lessons_of(make_train_config(options | {"seed": 0, "lr": 0.5}), tmp_path / "two")
    assert "kept from before" in caplog.text
    assert first.lessons is not None
    assert second.lessons is not None
    rows = first.data.rows
    assert torch.equal(first.lessons.take(rows), second.lessons.take(rows))
    first.close()
    second.close()


def test_every_image_is_seen_once_an_epoch(options: dict[str, object], tmp_path: Path) -> None:
    run, _ = lessons_of(make_train_config(options), tmp_path / "model")
    batches = run.batches(0)
    shown = np.concatenate([batches[number].rows.numpy() for number in range(len(batches))])
    assert sorted(shown) == sorted(run.data.rows)
    again = run.batches(0)
    assert torch.equal(again[1].rows, batches[1].rows)
    assert not torch.equal(run.batches(1)[0].rows, batches[0].rows)
    run.close()


def test_a_student_comes_closer_to_its_teacher_and_is_saved(options: dict[str, object], tmp_path: Path) -> None:
    config = make_train_config(options | {"epochs": 12, "lr": 0.003, "augment": "none"})
    run, _ = lessons_of(config, tmp_path / "look")
    assert run.lessons is not None
    taught, pixels = run.lessons.take(run.data.rows).numpy(), run.data.cache.pixels[run.data.rows]
    before = float((embed_pixels(run.network, pixels) * taught).sum(axis=1).mean())
    run.close()
    result = train(config, tmp_path / "model")
    student, card = load_model(result.model_folder)
    after = float((embed_pixels(student, pixels) * taught).sum(axis=1).mean())
    if result.best_epoch:  # the baseline may verify best on so few images; then it is what was saved
        assert after > before + 0.1
    assert card.training is not None
    assert card.training.config["teacher"] == options["teacher"]
    history = pd.read_csv(tmp_path / "model" / "run" / "history.csv")
    assert history["loss"].iloc[-1] < 0.8 * history["loss"].dropna().iloc[0]


def test_a_model_folder_teaches(options: dict[str, object], people: Path, tmp_path: Path) -> None:
    own = {"data": people, "loss": "contrastive", "val_share": 0.3, "epochs": 1, "cache": "off", "num_pairs": 20}
    folder = train(make_train_config(own | STUDENT), tmp_path / "teacher").model_folder
    run, _ = lessons_of(make_train_config(options | {"teacher": str(folder)}), tmp_path / "model")
    network, _ = load_model(folder)
    row = run.data.rows[:3]
    assert run.lessons is not None
    assert np.allclose(run.lessons.take(row).numpy(), embed_pixels(network, run.data.cache.pixels[row]), atol=1e-5)
    run.close()


@pytest.mark.parametrize("manifest", [False, True])
def test_images_without_identities_are_enough(
    options: dict[str, object], people: Path, tmp_path: Path, manifest: bool
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    sources = sorted(path for path in people.rglob("*") if path.suffix in (".png", ".jpg"))
    names = []
    for number, source in enumerate(sources):
        names.append((f"{number:04}{source.suffix}", source.parent.name))
        (flat / names[-1][0]).write_bytes(source.read_bytes())
    table = pd.DataFrame(names, columns=["path", "identity"])
    one = table[table["identity"] == table["identity"].iloc[0]]["path"].tolist()
    other = table[table["identity"] == table["identity"].iloc[-1]]["path"].tolist()
    pairs = pd.DataFrame(
        [(one[0], one[1], 1), (other[0], other[1], 1), (one[0], other[0], 0), (one[1], other[1], 0)],
        columns=["left", "right", "same"],
    )
    val = tmp_path / "val.csv"
    pairs.to_csv(val, index=False)
    data = flat
    if manifest:
        data = flat / "images.csv"
        known = table["identity"].where(table.index % 3 == 0, "")
        table.assign(identity=known).to_csv(data, index=False)
    chosen = {name: value for name, value in options.items() if name != "val_share"}
    chosen |= {"data": data, "val_pairs": val}
    run, paths = lessons_of(make_train_config(chosen), tmp_path / "model")
    shown = {one[0], one[1], other[0], other[1]}
    assert not shown & set(paths)
    if not manifest:
        assert set(paths) == set(table["path"]) - shown
        assert run.data.identities == ()
        assert (run.data.labels == -1).all()
    run.close()
    result = train(make_train_config(chosen | {"epochs": 1}), tmp_path / "trained")
    assert (result.model_folder / "model.safetensors").is_file()


def test_a_classifier_beside_the_teacher_learns_those_that_are_known(
    options: dict[str, object], people: Path, tmp_path: Path
) -> None:
    rows = [
        (str(path.relative_to(people)), path.parent.name)
        for path in sorted(people.rglob("*"))
        if path.suffix in (".png", ".jpg")
    ]
    table = pd.DataFrame(rows, columns=["path", "identity"])
    names = sorted(table["identity"].unique())
    table.loc[table["identity"].isin(names[:2]), "identity"] = ""
    manifest = people / "partly.csv"
    table.to_csv(manifest, index=False)
    try:
        run, _ = lessons_of(
            make_train_config(options | {"data": manifest, "loss": "distill+arcface:0.1"}), tmp_path / "model"
        )
        assert run.data.labels is not None
        assert (run.data.labels == -1).any()
        assert set(run.data.identities) <= set(names[2:])
        assert len(run.data.identities) == run.data.labels.max() + 1
        run.start_classes()
        run.close()
    finally:
        manifest.unlink()


@pytest.fixture
def flat(people: Path, tmp_path: Path) -> Path:
    """The same images in one folder, of nobody known."""
    folder = tmp_path / "flat"
    folder.mkdir()
    sources = sorted(path for path in people.rglob("*") if path.suffix in (".png", ".jpg"))
    for number, source in enumerate(sources):
        (folder / f"{number:04}{source.suffix}").write_bytes(source.read_bytes())
    return folder


def test_without_any_label_the_teacher_judges_its_student(
    options: dict[str, object], flat: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_train_config(options | {"data": flat, "lr": 0.003})
    with caplog.at_level(logging.WARNING, logger="siamese"):
        run, paths = lessons_of(config, tmp_path / "look")
    assert "the student is judged by how well it agrees with its teacher" in caplog.text
    assert run.pairs.by_teacher
    val = run.pairs.val
    held = set(val["left"]) | set(val["right"])
    assert not held & set(paths)
    assert held | set(paths) == {path.name for path in flat.iterdir()}
    teacher = load_teacher(str(options["teacher"]))
    names = sorted(held)
    vectors, usable = embed_files(teacher, config, flat, names, "cpu")
    assert usable.tolist() == list(range(len(names)))
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    nearest = {name: names[int(row.argmax())] for name, row in zip(names, similarity, strict=True)}
    genuine, impostor = val[val["same"]], val[~val["same"]]
    assert dict(zip(genuine["left"], genuine["right"], strict=True)) == nearest
    assert all(
        nearest[left] != right != left for left, right in zip(impostor["left"], impostor["right"], strict=True)
    )
    assert not impostor.duplicated(["left", "right"]).any()
    run.close()
    result = train(config, tmp_path / "model")
    network, card = load_model(result.model_folder)
    assert card.operating_points == ()
    assert card.calibration is None
    assert network.embedding_dim == (teacher.feature_dim if result.best_epoch else network.encoder.feature_dim)
    with pytest.raises(OptionError, match=r"no operating point; give --threshold, or train with --val-pairs"):
        choose_operating_point(card.operating_points)


def test_a_run_judged_by_its_teacher_is_resumed_as_one(
    options: dict[str, object], flat: Path, tmp_path: Path
) -> None:
    config = make_train_config(options | {"data": flat})
    first = Run(config, tmp_path / "model", "cpu")
    again = Run(config, tmp_path / "model", "cpu", resume=True)
    assert again.pairs.by_teacher
    pd.testing.assert_frame_equal(again.pairs.val, first.pairs.val)
    first.close()
    again.close()


def test_too_few_unlabelled_images_cannot_judge_a_student(options: dict[str, object], tmp_path: Path) -> None:
    flat = tmp_path / "few"
    flat.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (number * 40, 0, 0)).save(flat / f"{number}.png")
    with pytest.raises(DataError, match=r"3 images of nobody known, 0 to judge the student by: expected 3 at least"):
        Run(make_train_config(options | {"data": flat}), tmp_path / "model", "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "contrastive"}, "--teacher .*: belongs to --loss distill, and this run has contrastive"),
        ({"teacher": None}, "--loss distill: distill learns from a teacher, and none is given; add --teacher MODEL"),
        ({"batches": "tuples"}, "--batches tuples: --loss distill has no use for them; leave it out"),
        ({"teacher": "timm/test_convnext@random"}, "its weights are random; give NAME@TAG, NAME@FILE or a"),
        ({"num_pairs": 5}, "--num-pairs: says how many pairs to make, and batches are made of images here"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, object], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        Run(make_train_config(options | changes), tmp_path / "model", "cpu")
