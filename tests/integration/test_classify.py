"""`siamese classify` with a tiny model whose identity head was imprinted with the means of twelve rendered people."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from siamese.errors import DataError, ImageError, OptionError
from siamese.inference.classify import Classification, classify
from siamese.inference.classify_output import write_submission
from siamese.inference.image_source import list_images
from siamese.inference.submission_form import submission_form
from siamese.inference.verifier import Verifier
from siamese.model.folder import save_model

from .classifier_model import KNOWN, save_classifier
from .conftest import ENCODER, Siamese


@pytest.fixture(scope="module")
def classifier(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("classifier") / "model", faces)


@pytest.fixture(scope="module")
def verifier(classifier: Path) -> Verifier:
    return Verifier.load(classifier, device="cpu", runtime="torch")


def test_the_table_is_what_the_head_says(siamese: Siamese, faces: Path, classifier: Path, tmp_path: Path) -> None:
    outcome = siamese("classify", faces, "--model", classifier, "-o", tmp_path / "out.csv", "--json")
    assert outcome.code == 0
    table = pd.read_csv(tmp_path / "out.csv")
    places = [
        name
        for place in ("", *(f"_{n}" for n in range(2, 6)))
        for name in (f"identity{place}", f"probability{place}")
    ]
    assert list(table.columns) == ["path", *places, "status", "detail", "true_identity"]
    assert len(table) == 24 * 6
    found = Verifier.load(classifier, device="cpu", runtime="torch")
    vectors = found.embed([faces / path for path in table["path"]]).vectors
    head = found.network.identity_head
    assert head is not None and found.card is not None and found.card.identities is not None
    logits = vectors @ head.weight[:, 0].numpy().T * float(head.scale)
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    labels = np.array(found.card.identities)
    assert table["identity"].tolist() == labels[expected.argmax(axis=1)].tolist()
    np.testing.assert_allclose(table["probability"], expected.max(axis=1), atol=1e-4)
    ordered = np.sort(expected, axis=1)[:, ::-1]
    np.testing.assert_allclose(table["probability_5"], ordered[:, 4], atol=1e-4)

    answer = outcome.json
    known = table["true_identity"].isin(labels)
    assert answer["top1"] == pytest.approx((table["identity"] == table["true_identity"])[known].mean())
    five = (
        table[[name for name in places if name.startswith("identity")]].eq(table["true_identity"], axis=0).any(axis=1)
    )
    assert answer["top5"] == pytest.approx(five[known].mean())
    assert 1 / KNOWN < answer["top1"] < answer["top5"]
    assert {key: answer[key] for key in ("images", "failed", "identities", "judged", "unknown", "device")} == {
        "images": 144,
        "failed": 0,
        "identities": 12,
        "judged": 72,
        "unknown": 72,
        "device": answer["device"],
    }
    assert answer["seconds"] > 0
    assert answer["model"] == str(classifier)
    assert "results" not in answer


def test_parquet_holds_the_same_table(siamese: Siamese, faces: Path, classifier: Path, tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        assert siamese("classify", faces, "--model", classifier, "-o", tmp_path / name, "--top", 3).code == 0
    one, other = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "out.parquet")
    assert one.columns.tolist() == other.columns.tolist()
    assert "identity_3" in one.columns
    assert "identity_4" not in one.columns
    assert (one["identity_2"] == other["identity_2"]).all()
    np.testing.assert_allclose(one["probability"], other["probability"], atol=1e-6)


def test_single_images_are_printed(siamese: Siamese, classifier: Path, two_images: tuple[Path, Path]) -> None:
    outcome = siamese("classify", *two_images, "--model", classifier)
    assert outcome.code == 0
    assert str(two_images[0]) in outcome.out
    assert "image" in outcome.out and "probability" in outcome.out
    assert "2 images, 0 without an identity; the model knows 12" in outcome.out
    results = siamese("classify", *two_images, "--model", classifier, "--json", "--top", "2").json["results"]
    assert [row["path"] for row in results] == [str(path) for path in two_images]
    assert results[0]["probability"] >= results[0]["probability_2"]
    assert "top1" not in outcome.out


def test_images_that_cannot_be_classified_keep_their_row(
    siamese: Siamese, faces: Path, classifier: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    good = (faces / "person_001" / "001.jpg").read_bytes()
    (folder / "good.jpg").write_bytes(good)
    (folder / "bad.jpg").write_bytes(good[: len(good) // 3])
    outcome = siamese("classify", folder, "--model", classifier, "-o", tmp_path / "out.csv", "--json")
    assert outcome.code == 0
    assert outcome.json["failed"] == 1
    assert outcome.json["top1"] is None
    assert outcome.json["unknown"] == 0
    table = pd.read_csv(tmp_path / "out.csv").set_index("path")
    assert table.loc["bad.jpg", "status"] == "unreadable"
    assert "bad.jpg" in str(table.loc["bad.jpg", "detail"])
    assert table.loc["bad.jpg", ["identity", "probability"]].isna().all()
    assert table.loc["good.jpg", "status"] == "ok"
    assert "true_identity" not in table.columns
    shown = siamese("classify", folder, "--model", classifier)
    assert "unreadable" in shown.out
    assert siamese("classify", folder, "--model", classifier, "--json").json["results"][0]["identity"] is None


def test_a_submission_names_files_and_five_labels(
    siamese: Siamese, faces: Path, classifier: Path, tmp_path: Path, verifier: Verifier
) -> None:
    person = faces / "person_001"
    (tmp_path / "test").mkdir()
    for image in person.iterdir():
        (tmp_path / "test" / image.name).write_bytes(image.read_bytes())
    output = tmp_path / "sub.csv"
    outcome = siamese("classify", tmp_path / "test", "--model", classifier, "-o", output, "--submission", "Image,Id")
    assert outcome.code == 0
    table = pd.read_csv(output)
    assert table.columns.tolist() == ["Image", "Id"]
    assert sorted(table["Image"]) == sorted(image.name for image in person.iterdir())
    expected = classify(verifier, [tmp_path / "test"]).table.to_pandas()
    names = ["identity", *(f"identity_{place}" for place in range(2, 6))]
    assert table["Id"].tolist() == [" ".join(row) for row in expected[names].to_numpy()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--submission", "Image", "-o", "s.csv"],
            "--submission 'Image': expected two column names, such as Image,Id",
        ),
        (["--submission", "Id,Id", "-o", "s.csv"], "--submission 'Id,Id': expected two column names"),
        (["--submission", "Image,Id", "-o", "s.parquet"], "-o s.parquet: a submission ends in .csv; name it so"),
        (["--submission", "Image,Id"], "--submission: needs a file to write, -o FILE.csv"),
        (["--submission", "none.csv", "-o", "s.csv"], "none.csv: cannot be read (No such file or directory)"),
        (["-o", "table.xlsx"], "-o table.xlsx: a table ends in .csv or .parquet; name it so"),
        (
            ["--submission", "Image,Id", "-o", "s.csv"],
            "'001.jpg' is that of person_001/001.jpg and person_002/001.jpg",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(
    siamese: Siamese,
    faces: Path,
    classifier: Path,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = siamese("classify", faces, "--model", classifier, *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []


def with_column(result: Classification, name: str, label: str) -> Classification:
    """The same images, all of them of one label at one place."""
    place = result.table.column_names.index(name)
    column = pa.array([label] * result.images)
    return dataclasses.replace(result, table=result.table.set_column(place, name, column))


def test_labels_with_blanks_are_no_submission(verifier: Verifier, faces: Path, tmp_path: Path) -> None:
    result = with_column(classify(verifier, [faces / "person_001"]), "identity_2", "new whale")
    message = "separates labels by blanks, but 'new whale' holds one; rename the identity, or give --top 1"
    with pytest.raises(DataError, match=message):
        write_submission(result, tmp_path / "sub.csv", submission_form("Image,Id", "identity"))
    alone = with_column(classify(verifier, [faces / "person_001"], top=1), "identity", "new whale")
    write_submission(alone, tmp_path / "sub.csv", submission_form("Image,Id", "identity"))
    assert set(pd.read_csv(tmp_path / "sub.csv")["Id"]) == {"new whale"}


@pytest.mark.parametrize(
    ("shown", "options", "named"), [("a b c", (), 3), ("new_whale", (), 1), ("x", ("--top", 2), 2), ("", (), 5)]
)
def test_a_sample_gives_images_their_order_and_the_number_of_labels(
    siamese: Siamese, faces: Path, classifier: Path, tmp_path: Path, shown: str, options: tuple, named: int
) -> None:
    names = ["person_003/002", "person_001/001", "person_002/005"]
    sample = tmp_path / "sample.csv"
    manifest = faces.parent / "some.csv"
    pd.DataFrame({"path": [f"{faces.name}/{name}.jpg" for name in sorted(names)], "identity": "x"}).to_csv(
        manifest, index=False
    )
    pd.DataFrame({"Image": [f"{faces.name}/{name}" for name in names], "Id": shown}).to_csv(sample, index=False)
    output = tmp_path / "sub.csv"
    arguments = ("classify", manifest, "--model", classifier, "-o", output, "--submission", sample, *options)
    outcome = siamese(*arguments)
    assert outcome.code == 0, outcome.err
    table = pd.read_csv(output)
    assert table["Image"].tolist() == [f"{faces.name}/{name}" for name in names]
    assert table["Id"].str.split().str.len().tolist() == [named] * 3


def test_images_that_the_sample_does_not_name_are_refused_before_the_work(
    siamese: Siamese, faces: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("Image,Id\n001.jpg,w\nmore.jpg,w\n")
    monkeypatch.setattr(Verifier, "embed", lambda *_, **__: pytest.fail("embedded"))
    person = faces / "person_001"
    outcome = siamese("classify", person, "--model", classifier, "-o", tmp_path / "sub.csv", "--submission", sample)
    assert outcome.code == 2
    message = "6 answers, ids missing: 1 (first 'more.jpg'), surplus: 5 (first '002.jpg'); expected one answer for"
    assert message in outcome.err


@pytest.mark.parametrize("model", [ENCODER, "folder"])
def test_a_model_without_an_identity_head_says_how_to_train_one(
    siamese: Siamese, faces: Path, classifier: Path, tmp_path: Path, model: str
) -> None:
    if model == "folder":
        found = Verifier.load(classifier, device="cpu", runtime="torch")
        assert found.card is not None
        found.network.identity_head = None
        save_model(tmp_path / "plain", found.network, found.card.model_copy(update={"identities": None}))
        model = str(tmp_path / "plain")
    outcome = siamese("classify", faces, "--model", model, "--quiet")
    assert outcome.code == 2
    advice = "has no identity head; train one with `siamese train DATA --loss arcface -o DIR`"
    assert outcome.err.splitlines()[-1] == f"siamese: --model {model}: {advice}"


def test_no_model_is_named(siamese: Siamese, faces: Path) -> None:
    outcome = siamese("classify", faces)
    assert outcome.code == 2
    assert "--model: name a model folder with an identity head" in outcome.err


def test_groups_change_nothing(verifier: Verifier, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = classify(verifier, [faces])
    monkeypatch.setattr("siamese.inference.classify.GROUP", 48)
    parts = classify(verifier, [faces])
    pd.testing.assert_frame_equal(whole.table.to_pandas(), parts.table.to_pandas(), atol=1e-5)
    assert (whole.top1, whole.top5, whole.judged) == (parts.top1, parts.top5, parts.judged)


def test_more_places_than_identities_name_them_all(verifier: Verifier, faces: Path) -> None:
    table = classify(verifier, [faces / "person_001"], top=50).table.to_pandas()
    shares = table[[name for name in table.columns if name.startswith("probability")]]
    assert shares.shape[1] == KNOWN
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-4)
    with pytest.raises(OptionError, match="--top 0: expected 1 or more"):
        classify(verifier, [faces], top=0)


def test_a_manifest_gives_the_true_identities(verifier: Verifier, faces: Path, tmp_path: Path) -> None:
    manifest = faces.parent / "manifest.csv"
    rows = [
        ("person_001/001.jpg", "person_001"),
        ("person_002/001.jpg", "person_003"),
        ("person_023/001.jpg", "nobody"),
    ]
    paths = [(f"{faces.name}/{path}", identity) for path, identity in rows]
    pd.DataFrame(paths, columns=["path", "identity"]).to_csv(manifest, index=False)
    result = classify(verifier, [manifest])
    assert result.table["true_identity"].to_pylist() == ["person_001", "person_003", "nobody"]
    assert (result.judged, result.unknown) == (2, 1)


def test_images_are_listed_from_files_and_folders_together(faces: Path) -> None:
    image, folder = faces / "person_001" / "002.jpg", faces / "person_002"
    listed = list_images([image, folder])
    assert listed["path"].to_pylist() == [str(image), *sorted(str(path) for path in folder.iterdir())]
    assert listed["file"] == listed["path"]
    assert listed["identity"].null_count == len(listed)
    listed = list_images([faces])
    assert listed["path"][0].as_py() == "person_001/001.jpg"
    assert listed["identity"][0].as_py() == "person_001"


def test_folders_of_two_levels_name_identities_by_both(faces: Path) -> None:
    listed = list_images([faces.parent], identity_depth=2)
    assert f"{faces.name}/person_001" in set(listed["identity"].to_pylist())


def test_images_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nobody.jpg: no such image file"):
        list_images([tmp_path / "nobody.jpg"])
    with pytest.raises(DataError, match="nowhere: no such folder or manifest"):
        list_images([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no images below it"):
        list_images([tmp_path])
    with pytest.raises(DataError, match="no images given"):
        list_images([])


def test_json_is_one_object_without_nan(siamese: Siamese, faces: Path, classifier: Path) -> None:
    outcome = siamese("classify", faces / "person_001", "--model", classifier, "--json", "--quiet")
    assert json.loads(outcome.out)["top1"] is None
    assert "NaN" not in outcome.out
