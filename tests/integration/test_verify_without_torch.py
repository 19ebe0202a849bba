"""`siamese verify` on an exported model: what it imports, and that an export is as good as its model."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from siamese_cli.main import run

from .conftest import ENCODER, REPOSITORY

HEAVY = (
    *("torch", "pandas", "lightning", "albumentations", "sklearn", "scipy"),
    *("facenet_pytorch", "timm", "matplotlib", "torchvision"),
)
# What the program imported is asked in the process that ran it, after it has done its work.
ASK = """
import json, sys
from siamese_cli.main import run
code = run(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([code, sorted(name for name in {heavy!r} if name in sys.modules)], file)
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "exported"
    given = ["export", ENCODER, "--seed", "1", "--input-size", "32", "-o", str(folder), "--quiet"]
    assert run(given) == 0
    return folder


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained model with its export inside: it has operating points and a calibration."""
    folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("trained") / "model"))
    assert run(["export", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def listed(pairs: Path) -> pd.DataFrame:
    """Pairs with everything that is common: gaps, unicode, quotes, numbers, an image that is not there."""
    frame = pd.read_csv(pairs / "test.csv").head(60)
    frame = frame.astype({"same": object}).assign(id=np.arange(100, 100 + len(frame)), note='é, "x"')
    frame["fold"] = np.arange(len(frame)) % 3
    frame.loc[3, "right"] = "nobody/ü.jpg"
    frame.loc[5, "same"] = ""
    return frame


def verified(folder: Path, model: Path, *arguments: object, code: int = 0) -> Any:
    """Run `siamese verify` in a process of its own.

    Returns:
        The heavy modules that it imported, and what it printed; of a run that fails the message.
    """
    report = folder / "imported.json"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "cli")])}
    given = ["verify", *map(str, arguments), "--model", str(model), "--device", "cpu", "--runtime", "openvino"]
    command = [sys.executable, "-c", ASK.format(heavy=HEAVY), str(report), *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    ended, heavy = json.loads(report.read_text())
    assert ended == code, done.stderr
    return (heavy, done.stdout) if code == 0 else done.stderr.splitlines()[-1]


FORMS: dict[str, tuple[str, list[Any]]] = {
    "csv to csv": ("pairs.csv", ["-o", "out.csv"]),
    "csv to parquet": ("pairs.csv", ["-o", "out.parquet"]),
    "tsv to csv": ("pairs.tsv", ["-o", "out.csv"]),
    "parquet to csv": ("pairs.parquet", ["-o", "out.csv"]),
    "parquet to parquet": ("pairs.parquet", ["-o", "out.parquet"]),
    "printed": ("pairs.csv", []),
    "json": ("pairs.parquet", ["--json"]),
    "other label": ("pairs.csv", ["--same-label", "0", "-o", "out.csv"]),
    "labels submitted": ("pairs.csv", ["--submission", "id,label", "-o", "s.csv"]),
    "scores submitted": ("pairs.parquet", ["--submission", "sample.csv", "-o", "s.csv"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_neither_torch_nor_pandas_is_imported(
    faces: Path, trained: Path, listed: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    name, options = FORMS[form]
    listed.to_csv(tmp_path / "pairs.csv", index=False)
    listed.to_csv(tmp_path / "pairs.tsv", index=False, sep="\t")
    labels = pd.to_numeric(listed["same"]).astype("boolean")
    listed.assign(same=labels, age=0.5).astype({"note": "category"}).to_parquet(tmp_path / "pairs.parquet")
    pd.DataFrame({"id": listed["id"], "p": 0.5}).to_csv(tmp_path / "sample.csv", index=False)
    options = [tmp_path / each if str(each).endswith((".csv", ".parquet")) else each for each in options]
    heavy, out = verified(tmp_path, trained, tmp_path / name, "--root", faces, *options)
    assert heavy == []
    if form == "printed":
        assert "operating point accuracy" in out
        assert out.splitlines()[4].endswith("failed")
    if form == "json":
        rows = json.loads(out)["results"]
        assert [rows[3][key] for key in ("similarity", "same_predicted", "status")] == [None, None, "failed"]
        assert rows[5]["same"] is None
        assert {type(rows[0][key]) for key in ("same", "same_predicted")} == {bool}
    if "submitted" in form:
        table = pd.read_csv(tmp_path / "s.csv")
        assert table["id"].tolist() == listed["id"].tolist()


def test_an_export_alone_is_a_model(faces: Path, exported: Path, listed: pd.DataFrame, tmp_path: Path) -> None:
    listed.to_csv(tmp_path / "pairs.csv", index=False)
    heavy, out = verified(tmp_path, exported, tmp_path / "pairs.csv", "--root", faces, "-o", tmp_path / "out.csv")
    assert heavy == []
    assert "similarities alone: the model has no threshold; give --threshold to decide" in out
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["status"].tolist() == ["scored"] * 3 + ["failed"] + ["scored"] * (len(listed) - 4)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_table_is_that_of_torch(
    faces: Path, trained: Path, listed: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    listed.to_csv(tmp_path / "pairs.csv", index=False)
    tables = {}
    for runtime in ("torch", "openvino"):
        out = tmp_path / f"{runtime}{suffix}"
        given = [
            "verify",
            tmp_path / "pairs.csv",
            "--model",
            trained,
            "--root",
            faces,
            "--runtime",
            runtime,
            "-o",
            out,
        ]
        assert run([*map(str, given), "--quiet"]) == 0
        tables[runtime] = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    one, other = tables["torch"], tables["openvino"]
    np.testing.assert_allclose(one["similarity"], other["similarity"], atol=1e-5)
    rest = [name for name in one.columns if name not in ("similarity", "probability", "same_predicted")]
    pd.testing.assert_frame_equal(one[rest], other[rest])
    assert one.loc[3, "detail"] == "nobody/ü.jpg: no such file; check the path"


def test_a_report_of_aligned_crops_is_read_without_pandas(
    faces: Path, exported: Path, listed: pd.DataFrame, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(faces, tmp_path / "crops"))
    report = {"path": ["nobody/ü.jpg", "x.jpg"], "status": ["no_face", "ok"], "detail": ["no face, none found", ""]}
    pd.DataFrame(report).to_csv(root / "align.csv", index=False)
    listed.to_csv(tmp_path / "pairs.csv", index=False)
    heavy, _ = verified(tmp_path, exported, tmp_path / "pairs.csv", "--root", root, "-o", tmp_path / "out.csv")
    assert heavy == []
    assert pd.read_csv(tmp_path / "out.csv").loc[3, "detail"] == "nobody/ü.jpg: no face, none found"


def test_odd_rows_and_other_forms_are_read_by_pandas_as_ever(
    faces: Path, exported: Path, listed: pd.DataFrame, tmp_path: Path
) -> None:
    listed = listed.assign(same=1)
    listed.assign(same="\u00a01 ", taken="x\ry").to_csv(tmp_path / "odd.csv", index=False, quoting=1)
    listed.assign(taken=pd.Timestamp("2024-01-01"), group=7.0).to_parquet(tmp_path / "refused.parquet")
    listed.assign(taken=pd.Timestamp("2024-01-01")).to_parquet(tmp_path / "times.parquet")
    lines = "".join(f"{left} {right} 1\n" for left, right in zip(listed["left"], listed["right"], strict=True))
    (tmp_path / "lines.txt").write_text(lines)
    for name in ("odd.csv", "times.parquet", "lines.txt"):
        for suffix in (".csv", ".parquet"):
            out = tmp_path / f"out{suffix}"
            heavy, _ = verified(tmp_path, exported, tmp_path / name, "--root", faces, "-o", out)
            assert heavy in (["pandas"], []), "an odd file costs pandas, and nothing else"
            found = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
            assert found["left"].tolist() == listed["left"].tolist()
            assert found["same"].tolist() == [1] * len(listed)
    arguments = ("--root", faces, "-o", tmp_path / "out.csv")
    assert verified(tmp_path, exported, tmp_path / "refused.parquet", *arguments, code=2) == (
        f"siamese: {tmp_path / 'refused.parquet'}: column group holds floating values, expected text"
    )
    (tmp_path / "pairs.csv").write_text("left,right,same\na.jpg,b.jpg,1\n\na.jpg,c.jpg,maybe\n")
    assert verified(tmp_path, exported, tmp_path / "pairs.csv", *arguments, code=2) == (
        f"siamese: {tmp_path / 'pairs.csv'} line 4: same is 'maybe', expected 1 or 0, true or false, or empty; "
        "--same-label names the value that means same"
    )
    (tmp_path / "pairs.csv").write_text("left,right\na.jpg,b.jpg\na.jpg,c.jpg\n")
    assert verified(tmp_path, exported, tmp_path / "pairs.csv", *arguments, code=2) == (
        f"siamese: {tmp_path / 'pairs.csv'} line 2: column left names 'a.jpg', which is no file below {faces}; "
        "2 other images are missing too; check the root folder"
    )
