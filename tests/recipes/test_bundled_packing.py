import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from bundled_recipe import distorted, speed
from bundled_recipe import measure as measure_module
from bundled_recipe import pack as pack_module
from bundled_recipe.figures_text import figures_text
from bundled_recipe.measure import PARTS, measure, measure_model
from bundled_recipe.pack import check_rounding, pack, without_folders
from bundled_recipe.prepare import prepare
from bundled_recipe.records import write_record
from bundled_recipe.speed import images_per_second, measure_cost
from bundled_recipe.workplace import Workplace

from siamese.encoders.checksum import sha256_of
from siamese.errors import DataError, ModelError
from siamese.inference.verifier import Verifier
from siamese.model.card import TrainingCard, ValidationFigures, read_card
from siamese.model.folder import describe_encoder, load_model, save_model


@dataclass(frozen=True)
class Small(Workplace):
    """All three models are the stand-in: what is tested is the measuring, and not the models."""

    other: str = ""

    @property
    def teacher(self) -> str:
        return self.other

    @property
    def compared(self) -> str:
        return self.other


@pytest.fixture(scope="module")
def place(
    fake_data: Path, standin: Path, draw_face: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Small:
    """Prepared, and with a model in 32 bits as training leaves it."""
    found = Small(fake_data, fake_data, tmp_path_factory.mktemp("packing") / "work", other=str(standin))
    prepare(found, fake_data / "lfw")
    for person in range(4):
        for image in range(3):
            draw_face(found.images / "orl" / f"s{person}" / f"{image}.png", 1000 * person + image)
    network, card = load_model(standin)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 1e-4)  # no longer what 16 bits hold
    figures = ValidationFigures(auc=0.9, accuracy=0.8, eer=0.2)
    training = TrainingCard(
        config={"data": str(found.training_images), "teacher": f"openvino:{found.work}/t.xml@{found.work}/t.json"},
        baseline=figures,
        best=figures,
        best_epoch=1,
        images=9,
        tuples=9,
        versions={},
    )
    # As a network of timm leaves training: it knows of no faces.
    network.encoder.input_spec = network.encoder.input_spec.model_copy(update={"alignment": "none"})
    encoder = describe_encoder(network)
    save_model(found.model, network, card.model_copy(update={"training": training, "encoder": encoder}))
    first = training.model_copy(
        update={"config": {"data": str(found.training_images), "epochs": 45}, "best_epoch": 44}
    )
    save_model(found.clean_model, network, card.model_copy(update={"training": first, "encoder": encoder}))
    write_record(found.trained, {"stopped": False, "weights_sha256": sha256_of(found.model / "model.safetensors")})
    return found


@pytest.fixture(scope="module")
def measured(place: Small) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "SECONDS", 0.1)
        patch.setattr(distorted, "KINDS", ("fog", "noise"))
        patch.setattr(distorted, "RESAMPLES", 100)
        return measure(place)


def test_every_part_is_measured_and_told(place: Small, measured: str) -> None:
    record = json.loads(place.figures.read_text())
    assert tuple(record["parts"]) == PARTS
    parts = record["parts"]
    # The three are one network but for the rounding of its weights: so are their figures.
    student, other = (parts[f"view1/{name}"] for name in ("student", "mobilefacenet"))
    assert student["auc"]["value"] == pytest.approx(other["auc"]["value"], abs=0.02)
    assert set(parts["distorted"]) == {"any of them", "fog", "noise"}
    assert parts["groups"]["everybody"]["images"] == sum(
        group["images"] for group in parts["groups"]["gender"].values()
    )
    assert parts["orl"]["student"]["images"] == 12
    assert parts["speed"]["ratio"]["compared, torch f32"] == 1
    for heading in ("LFW View 1", "AUC lost by damaged", "FAR within groups", "ORL", "Warm embedding", "parameters"):
        assert heading in measured
    assert measured.endswith(f"written: {place.figures}")


def test_what_was_measured_of_the_same_weights_is_kept(
    place: Small, measured: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(measure_module, "measure_view1", fail)
    assert measure(place) == measured


def test_an_interrupted_measurement_keeps_its_finished_parts(
    place: Small, measured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "figures.json"
    with monkeypatch.context() as patched:
        patched.setattr(measure_module, "measure_cost", interrupt)
        with pytest.raises(KeyboardInterrupt):
            measure_model(place, place.model, file, ["view1/student", "cost"])
    assert list(json.loads(file.read_text())["parts"]) == ["view1/student"]
    assert list(measure_model(place, place.model, file, ["view1/student", "cost"])["parts"]) == [
        "view1/student",
        "cost",
    ]


def test_the_packed_model_is_whole_small_and_names_no_folder(place: Small, measured: str, tmp_path: Path) -> None:
    target = tmp_path / "bundled"
    pack(place, target)
    assert sorted(path.name for path in target.iterdir()) == ["MODEL_CARD.md", "model.json", "model.safetensors"]
    assert (target / "model.safetensors").stat().st_size < 0.6 * (place.model / "model.safetensors").stat().st_size
    card, trained = read_card(target), read_card(place.model)
    assert card.training is not None and card.training.config == {
        "data": "images.csv",
        "teacher": "openvino:t.xml@t.json",
    }
    assert card.operating_points != trained.operating_points  # the stand-in's are of made-up scores
    assert {point.split for point in card.operating_points} == {"validation"}
    assert card.calibration is not None and card.calibration.genuine == card.operating_points[0].genuine
    assert card.encoder.input_spec.alignment == "arcface-112"  # so that photographs are
    verifier = Verifier.load(target, device="cpu", runtime="torch")
    assert verifier.input_spec == card.encoder.input_spec
    assert verifier.embed([place.images / "orl" / "s0" / "0.png"]).usable.all()
    for name in ("MODEL_CARD.md", "model.json"):
        assert str(place.work) not in (target / name).read_text()


def test_the_card_for_people_says_what_was_measured(place: Small, measured: str, tmp_path: Path) -> None:
    pack(place, tmp_path / "bundled")
    text = (tmp_path / "bundled" / "MODEL_CARD.md").read_text()
    record = json.loads(place.figures.read_text())
    assert figures_text(record) in text
    assert "learnt the embeddings of `openvino:t.xml@t.json`, seed 0, in two runs" in text
    assert "best of\n45 epochs: epoch 44" in text
    assert "python recipes/bundled/run.py --data" in text
    for heading in ("Meant for", "Not meant for", "Data", "Teacher and recipe", "Figures", "Limits", "Licence"):
        assert f"\n## {heading}\n" in text
    assert "{" not in text


def test_packing_needs_a_trained_and_measured_student(place: Small, measured: str, tmp_path: Path) -> None:
    other = Small(place.data, place.weights, place.work, seed=5, other=place.other)
    with pytest.raises(DataError, match=r"model-seed5: no trained student of seed 5; run --step train first"):
        pack(other, tmp_path)
    kept = place.figures.read_bytes()
    record = json.loads(kept)
    del record["parts"]["groups"]
    write_record(place.figures, record)
    try:
        with pytest.raises(DataError, match=r"figures.json: not all figures of this student are there; run"):
            pack(place, tmp_path)
    finally:
        place.figures.write_bytes(kept)


def test_too_large_a_model_is_not_packed(
    place: Small, measured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "MOST_BYTES", 1000)
    with pytest.raises(ModelError, match=r"model.safetensors: [0-9,]+ bytes, at most 1,000; train a smaller student"):
        pack(place, tmp_path / "bundled")
    assert not (tmp_path / "bundled").exists()


def view1(accuracy: float, auc: float) -> dict[str, object]:
    return {"devtrain_threshold": {"accuracy": {"value": accuracy}}, "auc": {"value": auc}}


def test_a_packed_model_may_differ_by_rounding_alone() -> None:
    check_rounding(view1(0.950, 0.9900), view1(0.952, 0.9905))
    with pytest.raises(ModelError) as caught:
        check_rounding(view1(0.950, 0.9900), view1(0.953, 0.9900))
    assert str(caught.value) == (
        "packed model: accuracy on pairsDevTest is 0.9530, that of the trained one 0.9500, and rounding may move it "
        "by 0.002; pack it in 32 bits, or look for a layer that 16 bits do not hold"
    )
    with pytest.raises(ModelError, match=r"packed model: AUC on pairsDevTest is 0.9890, that of the trained"):
        check_rounding(view1(0.950, 0.9900), view1(0.950, 0.9890))
    with pytest.raises(ModelError, match="packed model: AUC"):
        check_rounding(view1(0.950, 0.9900), view1(0.950, float("nan")))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/a/images.csv", "images.csv"),
        ("openvino:/a/b.xml@/c/d.json", "openvino:b.xml@d.json"),
        ("mobilefacenet@/a/b.ckpt", "mobilefacenet@b.ckpt"),
        ("timm/regnetx_002@random", "timm/regnetx_002@random"),
        ("distill+relational=5:1", "distill+relational=5:1"),
        ("linear", "linear"),
    ],
)
def test_a_configuration_is_shown_without_folders(given: str, shown: str) -> None:
    assert without_folders({"x": given, "epochs": 3, "flag": None}) == {"x": shown, "epochs": 3, "flag": None}


def test_the_cost_is_the_size_of_the_file(place: Small, tmp_path: Path) -> None:
    network, card = load_model(place.model)
    cost = measure_cost(network)
    save_model(tmp_path, network, card, half=True)
    size = (tmp_path / "model.safetensors").stat().st_size
    header = int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little") + 8
    assert cost["megabytes_float16"] == (size - header) / 1e6
    assert cost["parameters"] == sum(each.numel() for each in network.parameters())


def test_speeds_are_of_the_first_runtime_at_one(standin: Path) -> None:
    runtime = Verifier.load(standin, device="cpu", runtime="torch").runtime
    speeds, ratios = images_per_second({"a": runtime, "b": runtime}, 2, 0.0)
    assert ratios["a"] == 1.0 and ratios["b"] > 0
    assert set(speeds) == {"a", "b"} and min(speeds.values()) > 0
