"""Commands where no model is named: the verifier that ships answers, and every command says so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from siamese import Verifier
from siamese.inference.export_manifest import read_manifest
from siamese.inference.runtime_choice import choose_runtime
from siamese.model.card import read_card

from .conftest import Siamese

SAID = "model: bundled (the verifier that ships with siamese; --model names another)"
NONE = "siamese: bundled: this installation of siamese came without its model ("

pytestmark = pytest.mark.usefixtures("bundled")


def test_compare_answers_with_it_and_says_so(siamese: Siamese, two_images: tuple[Path, Path]) -> None:
    done = siamese("compare", *two_images, "--align", "no", "--json")
    assert done.code == 0, done.err
    assert SAID in done.err.splitlines()
    expected = Verifier.load(device="cpu", align="no").compare(*two_images)
    assert done.json["model"] == "bundled"
    assert done.json["similarity"] == pytest.approx(expected.similarity)
    assert done.json["probability"] == pytest.approx(expected.probability)
    assert (done.json["threshold"], done.json["split"]) == (expected.threshold, "validation")
    named = siamese("compare", *two_images, "--align", "no", "--model", "bundled")
    assert named.code == 0
    assert SAID not in named.err
    assert "bundled on cpu, " in named.out


def test_quiet_keeps_the_line_to_itself(siamese: Siamese, two_images: tuple[Path, Path]) -> None:
    assert siamese("compare", *two_images, "--align", "no", "--quiet").err == ""


def test_verify_and_evaluate_score_pairs_with_it(siamese: Siamese, faces: Path, pairs: Path, tmp_path: Path) -> None:
    scored = tmp_path / "scored.csv"
    done = siamese("verify", pairs / "test.csv", "--root", faces, "--align", "no", "-o", scored, "--json")
    assert (done.code, done.json["model"]) == (0, "bundled")
    assert SAID in done.err.splitlines()
    assert (done.json["failed"], done.json["point"]) == (0, "accuracy")
    done = siamese("evaluate", "--pairs", pairs / "test.csv", "--root", faces, "--align", "no", "--json")
    assert (done.code, done.json["model"]) == (0, "bundled")
    assert SAID in done.err.splitlines()


def test_embed_embeds_with_it(siamese: Siamese, faces: Path, bundled: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    done = siamese("embed", faces / "person_001", "--align", "no", "-o", output, "--json")
    assert (done.code, done.json["model"], done.json["dimensions"]) == (0, "bundled", 256)
    assert SAID in done.err.splitlines()
    about = json.loads(pq.read_schema(output).metadata[b"siamese.model"])
    assert read_card(bundled).sha256 in json.dumps(about)


def test_classify_needs_a_model_that_knows_identities(siamese: Siamese, faces: Path) -> None:
    unnamed = siamese("classify", faces)
    assert (unnamed.code, unnamed.err.splitlines()) == (
        2,
        ["siamese: --model: name a model folder with an identity head, as `siamese train -o` writes it"],
    )
    named = siamese("classify", faces, "--model", "bundled", "--quiet")
    assert named.code == 2
    assert "has no identity head; train one with `siamese train DATA --loss arcface -o DIR`" in named.err


def test_export_writes_it_to_a_folder_that_is_named_and_never_into_the_package(
    siamese: Siamese, bundled: Path, tmp_path: Path
) -> None:
    before = sorted(bundled.rglob("*"))
    refused = siamese("export", "--quiet")
    assert (refused.code, refused.err) == (
        2,
        "siamese: -o: bundled lies inside the package, which is left as it is; name a folder to write\n",
    )
    done = siamese("export", "-o", tmp_path / "out", "--no-timing", "--json")
    assert (done.code, done.json["model"]) == (0, "bundled")
    assert SAID in done.err.splitlines()
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.model, manifest.weights_sha256) == ("bundled", read_card(bundled).sha256)
    assert sorted(bundled.rglob("*")) == before


def test_other_commands_take_it_by_name(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    audited = siamese("audit", faces, "--model", "bundled", "--align", "no", "--json")
    assert (audited.code, audited.json["images"]) == (0, 144)
    arguments = ("--hard", "bundled", "--align", "no", "--num-pairs", 40, "-o", tmp_path, "--json")
    made = siamese("make-pairs", faces, *arguments)
    assert made.code == 0, made.err
    assert made.json["files"]["pairs.csv"]["pairs"] == 40


@pytest.mark.parametrize(
    "command", [("compare",), ("verify",), ("embed",), ("evaluate", "--pairs"), ("export", "-o")]
)
def test_without_it_one_line_says_what_to_do(
    command: tuple[str, ...],
    siamese: Siamese,
    two_images: tuple[Path, Path],
    pairs: Path,
    nothing_bundled: Path,
    tmp_path: Path,
) -> None:
    given = {"compare": two_images, "embed": (two_images[0],), "export": (tmp_path / "out",)}
    done = siamese(*command, *given.get(command[0], (pairs / "test.csv",)))
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith(NONE)
    assert done.err.splitlines()[-1].endswith(
        "install a complete package, or name another model (--model FOLDER, or an encoder)"
    )
    assert len(done.err.splitlines()) == 1


def test_the_list_of_models_begins_with_it(siamese: Siamese, bundled: Path) -> None:
    row = siamese("models", "--json").json["encoders"][0]
    assert (row["name"], row["cached"], row["packaged"], row["path"]) == (
        "bundled",
        True,
        True,
        str(bundled / "model.safetensors"),
    )
    line = siamese("models").out.splitlines()[1]
    assert line.split() == ["bundled", "112x112", "256", "5", "MB", "packaged", "for", "tests"]


# The export that is made at first use


@pytest.mark.usefixtures("runtime_as_it_comes")
def test_first_use_makes_its_export_in_the_cache_and_never_in_the_package(
    siamese: Siamese, bundled: Path, two_images: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    before = sorted(bundled.rglob("*"))
    first = siamese("compare", *two_images, "--align", "no", "--device", "cpu", "--json")
    assert first.code == 0, first.err
    assert [line for line in first.err.splitlines() if line.startswith("bundled: made ready for OpenVINO, once")]
    assert sorted(bundled.rglob("*")) == before
    (export,) = (tmp_path / "cache" / "exports").iterdir()
    assert read_manifest(export).weights_sha256 == read_card(bundled).sha256
    assert (
        choose_runtime(None, "cpu", brief=True).export
        == choose_runtime("bundled", "cpu", brief=True).export
        == export
    )
    second = siamese("compare", *two_images, "--align", "no", "--device", "cpu", "--json")
    assert "made ready" not in second.err
    torch = siamese("compare", *two_images, "--align", "no", "--runtime", "torch", "--json")
    assert np.ptp([each.json["similarity"] for each in (first, second, torch)]) < 1e-4
    assert len({each.json["threshold"] for each in (first, second, torch)}) == 1


@pytest.mark.usefixtures("runtime_as_it_comes")
def test_another_model_in_the_package_has_an_export_of_its_own(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    first = choose_runtime("bundled", "cpu", brief=True).export
    newer = Path(shutil.copytree(bundled, tmp_path / "newer"))
    card = json.loads((newer / "model.json").read_text())
    (newer / "model.json").write_text(json.dumps(card | {"licence": "another card, as another version has it"}))
    monkeypatch.setattr("siamese.encoders.bundled._FOLDER", newer)
    assert choose_runtime("bundled", "cpu", make=False).reason == "no export yet"
    assert choose_runtime("bundled", "cpu", brief=True).export not in (None, first)


def test_where_torch_is_missing_one_line_says_how_to_get_its_export(monkeypatch: pytest.MonkeyPatch) -> None:
    from siamese.errors import ModelError
    from siamese.inference import runtime_choice

    monkeypatch.setattr(runtime_choice, "torch_is_there", lambda: False)
    with pytest.raises(ModelError) as caught:
        choose_runtime("bundled", "cpu", "openvino")
    assert str(caught.value) == (
        "bundled: no export of it was made yet, and torch is not installed here; run `siamese export bundled -o DIR` "
        "where torch is and give DIR as the model, or pip install torch"
    )
