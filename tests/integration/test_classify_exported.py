"""`siamese embed` and `siamese classify` on an exported model: as on torch, and without what is slow to import."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from siamese.inference.classify import classify
from siamese.inference.export import ExportJob, export_model
from siamese.inference.export_manifest import ExportManifest, find_export, read_manifest, write_manifest
from siamese.inference.verifier import Verifier

from .classifier_model import KNOWN, save_classifier
from .conftest import REPOSITORY, Siamese

HEAVY = (
    "torch",
    "pandas",
    "lightning",
    "albumentations",
    "sklearn",
    "scipy",
    "facenet_pytorch",
    "timm",
    "matplotlib",
)
SCRIPT = f"""
import json, sys
from siamese_cli.main import run
found = []
for arguments in json.loads(sys.argv[1]):
    code = run(arguments)
    found.append([code, sorted(set(sys.modules) & set({HEAVY!r}))])
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def exported(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its export."""
    folder = save_classifier(tmp_path_factory.mktemp("exported") / "model", faces)
    found = export_model(ExportJob(str(folder)))
    assert [name for name in sorted(found.manifest.files) if name.startswith("identity")] == [
        "identity_head.bin",
        "identity_head.xml",
    ]
    return folder


def loaded_by(commands: Sequence[Sequence[object]], folder: Path) -> list[str]:
    """What of the heavy packages a new process has loaded after these commands, all of which succeed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "cli")])}
    given = json.dumps([[str(argument) for argument in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, given, str(folder / "found.json")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: list[tuple[int, list[str]]] = json.loads((folder / "found.json").read_text())
    assert [code for code, _ in found] == [0] * len(commands), done.stderr
    return found[-1][1]


def test_embedding_a_folder_an_image_or_a_list_loads_nothing_heavy(
    exported: Path, faces: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("\n".join(map(str, two_images)) + "\n")
    model = ("--model", exported, "--runtime", "openvino")
    commands = [
        ("embed", faces, *model, "-o", tmp_path / "faces.parquet"),
        ("embed", two_images[0], *model, "-o", tmp_path / "one.parquet"),
        ("embed", tmp_path / "list.txt", *model, "-o", f"{tmp_path}/listed/", "--json"),
        ("embed", tmp_path / "list.txt", *model, "-o", f"{tmp_path}/listed/"),  # looks at what is done
    ]
    assert loaded_by(commands, tmp_path) == []
    table = pq.read_table(tmp_path / "faces.parquet")
    assert set(table["identity"].to_pylist()) == {path.name for path in faces.iterdir()}
    assert json.loads(table.schema.metadata[b"siamese.model"])["preprocessing"]["runtime"]["name"] == "openvino"
    assert pq.read_table(tmp_path / "listed")["path"].to_pylist() == [str(path) for path in two_images]


def test_classifying_loads_nothing_heavy(
    exported: Path, faces: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    model = ("--model", exported, "--runtime", "openvino")
    commands = [
        ("classify", faces, *model, "-o", tmp_path / "all.csv"),
        ("classify", faces, *model, "-o", tmp_path / "all.parquet", "--quiet"),
        ("classify", *two_images, *model),
        ("classify", *two_images, *model, "--json"),
        ("classify", faces / "person_001", *model, "-o", tmp_path / "sub.csv", "--submission", "Image,Id"),
    ]
    assert loaded_by(commands, tmp_path) == []
    assert (
        pq.read_table(tmp_path / "all.parquet").num_rows == len((tmp_path / "all.csv").read_text().splitlines()) - 1
    )


def test_manifests_and_lists_of_labels_still_find_pandas(exported: Path, faces: Path, tmp_path: Path) -> None:
    """pyarrow was told that there is none before it is needed after all."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    for place in (1, 2):
        shutil.copyfile(faces / "person_001" / f"00{place}.jpg", folder / f"{place}.jpg")
    (folder / "labels.txt").write_text("2.jpg bob\n1.jpg ada\n")
    table = pa.table({"path": ["labelled/2.jpg", "labelled/1.jpg"], "label": ["bob", "ada"], "age": [None, 3]})
    pq.write_table(table, tmp_path / "m.parquet")
    (tmp_path / "m.csv").write_text("path,identity,age\nlabelled/2.jpg,bob,\nlabelled/1.jpg,ada,3\n")
    outputs = {folder: "a.parquet", tmp_path / "m.parquet": "b.parquet", tmp_path / "m.csv": "c.parquet"}
    model = ("--model", exported, "--runtime", "openvino")
    commands = [("embed", data, *model, "-o", tmp_path / output) for data, output in outputs.items()]
    assert loaded_by(commands, tmp_path) == ["pandas"]
    for output in outputs.values():
        found = pq.read_table(tmp_path / output)
        assert found["identity"].to_pylist() == ["ada", "bob"]
        assert [Path(path).name for path in found["path"].to_pylist()] == ["1.jpg", "2.jpg"]


def test_the_modules_that_are_looked_for_would_be_found(
    exported: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    """On torch they are loaded: were nothing ever seen, the tests above would show nothing."""
    assert "torch" in loaded_by([("classify", *two_images, "--model", exported, "--runtime", "torch")], tmp_path)


def columns(verifier: Verifier, faces: Path, kind: str) -> list[Any]:
    table = classify(verifier, [faces], top=KNOWN).table
    return [table[name].to_pylist() for name in table.column_names if name.startswith(kind)]


def test_an_export_names_the_same_people_as_torch(exported: Path, faces: Path) -> None:
    export = Verifier.load(exported, device="cpu", runtime="openvino")
    network = Verifier.load(exported, device="cpu", runtime="torch")
    assert (export.runtime.name, network.runtime.name) == ("openvino", "torch")
    assert columns(export, faces, "identity")[0] == columns(network, faces, "identity")[0]
    found, expected = (np.array(columns(each, faces, "probability")) for each in (export, network))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected[0]) > 0.01, "all alike: nothing was compared"


def test_the_command_runs_the_export_unless_told_otherwise(siamese: Siamese, exported: Path, faces: Path) -> None:
    given = ("classify", faces, "--model", exported, "--device", "cpu", "--json")
    by_export = siamese(*given, "--runtime", "openvino", "--precision", "f32").json
    by_torch = siamese(*given, "--runtime", "torch").json
    assert by_export["top1"] == by_torch["top1"]
    assert by_export["results"] != by_torch["results"], "rounding tells them apart: one of them did not run"
    refused = siamese(*given, "--runtime", "tensorflow")
    assert refused.code == 2
    assert "unknown runtime 'tensorflow'" in refused.err


@pytest.fixture
def of_before(exported: Path, tmp_path: Path) -> Path:
    """A model folder whose export was made before identity heads were."""
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    export = find_export(folder)
    assert export is not None
    manifest = read_manifest(export)
    files = {name: digest for name, digest in manifest.files.items() if not name.startswith("identity_head")}
    for name in manifest.files.keys() - files.keys():
        (export / name).unlink()
    write_manifest(export, ExportManifest(**{**vars(manifest), "files": files}))
    return folder


def test_an_export_of_an_earlier_version_still_embeds(
    siamese: Siamese, of_before: Path, faces: Path, tmp_path: Path
) -> None:
    options = ("--model", of_before, "--device", "cpu", "--runtime", "openvino", "-o", tmp_path / "out.parquet")
    outcome = siamese("embed", faces / "person_001", *options, "--json")
    assert (outcome.code, outcome.json["failed"]) == (0, 0)


def test_an_export_of_an_earlier_version_says_that_it_names_nobody(
    siamese: Siamese, of_before: Path, two_images: tuple[Path, Path]
) -> None:
    given = ("classify", *two_images, "--model", of_before, "--device", "cpu")
    outcome = siamese(*given, "--runtime", "openvino", "--quiet")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"siamese: --model {of_before}: its export was made by an earlier version, which left the identity head out; "
        "run `siamese export` on the model again, or add --runtime torch\n"
    )
    assert siamese(*given, "--runtime", "torch").code == 0
