"""Embedding under Ray: the same parts as this process makes; one clear line where Ray is not installed."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from siamese.demo.folder import write_identities
from siamese.errors import DataError, DeviceError, OptionError
from siamese.inference.embed import embed_data
from siamese.inference.embed_ray import ModelRequest, PartWorker, ray_engine, require_ray
from siamese.inference.verifier import Verifier

REQUEST = ModelRequest("timm/test_resnet@random", input_size=(32, 32), seed=1)
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A local Ray of two cores."""
    package = pytest.importorskip("ray", reason="the extra ray is not installed")
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment = {"env_vars": {"PYTHONPATH": str(PROJECT)}}
        package.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
        yield package
        package.shutdown()


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return REQUEST.load("cpu")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_identities(folder, identities=4, images=5, seed=2, size=40)
    (folder / "person_001" / "bad.jpg").write_bytes(b"\xff\xd8 no image")
    return folder


def test_ray_makes_the_same_parts_as_this_process(ray: Any, verifier: Verifier, faces: Path, tmp_path: Path) -> None:
    engine = ray_engine(REQUEST, verifier, workers=2)
    result = embed_data(verifier, faces, tmp_path / "ray", partitioned=True, part_size=8, engine=engine)
    local = embed_data(verifier, faces, tmp_path / "local", partitioned=True, part_size=8)
    assert result == local
    assert (result.images, result.failed, result.parts, result.embedded) == (21, 1, 3, 21)
    assert engine.place == "2 Ray workers on cpu"
    tables = [pq.read_table(tmp_path / name).to_pandas() for name in ("ray", "local")]
    for column in ("path", "identity", "status", "detail"):
        assert list(tables[0][column]) == list(tables[1][column])
    usable = tables[1]["embedding"].notna()
    assert usable.sum() == 20
    for given, expected in zip(tables[0]["embedding"][usable], tables[1]["embedding"][usable], strict=True):
        assert given == pytest.approx(expected, abs=1e-5)


def test_a_run_begun_here_goes_on_under_ray_and_from_a_list(
    ray: Any, verifier: Verifier, faces: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(str(path) for path in sorted(faces.rglob("0*.jpg"))))
    whole = tmp_path / "whole.parquet"
    embed_data(verifier, listing, whole, part_size=6)
    begun = tmp_path / "begun"
    embed_data(verifier, listing, begun, partitioned=True, part_size=6)
    for number in (1, 3):
        (begun / f"part-0000{number}.parquet").unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in begun.glob("part-*")}
    result = embed_data(verifier, listing, begun, part_size=6, engine=ray_engine(REQUEST, verifier))
    assert (result.images, result.embedded) == (20, 8)
    assert {name: (begun / name).stat().st_mtime_ns for name in kept} == kept
    assert pq.read_table(begun).column("path").equals(pq.read_table(whole).column("path"))


def test_each_worker_loads_the_model_once(ray: Any, verifier: Verifier, faces: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    engine = ray_engine(Marking(**vars(REQUEST), marks=str(marks)), verifier, workers=1)
    result = embed_data(verifier, faces, tmp_path / "out", partitioned=True, part_size=2, engine=engine)
    assert result.parts == 11
    assert len(list(marks.iterdir())) == 1


def test_a_worker_with_other_weights_is_one_line(ray: Any, verifier: Verifier, faces: Path, tmp_path: Path) -> None:
    other = ModelRequest(REQUEST.model, input_size=(32, 32), seed=2)
    with pytest.raises(DataError, match="has other weights for a Ray worker; copy the model to every machine"):
        embed_data(verifier, faces, tmp_path / "out", partitioned=True, engine=ray_engine(other, verifier))


def test_a_model_that_a_worker_cannot_load_is_one_line(
    ray: Any, verifier: Verifier, faces: Path, tmp_path: Path
) -> None:
    nowhere = ModelRequest("timm/test_resnet@/nowhere.pt")
    with pytest.raises(DataError, match=r"a Ray worker cannot load the model: .*nowhere\.pt") as failure:
        embed_data(verifier, faces, tmp_path / "out", partitioned=True, engine=ray_engine(nowhere, verifier))
    assert "\n" not in str(failure.value)


def test_a_cluster_without_a_gpu_is_said(ray: Any, verifier: Verifier, faces: Path, tmp_path: Path) -> None:
    if ray.cluster_resources().get("GPU"):
        pytest.skip("a GPU is there")
    engine = ray_engine(REQUEST, verifier, device="cuda")
    with pytest.raises(DeviceError, match="the Ray cluster has no GPU; use --device cpu or --device auto"):
        embed_data(verifier, faces, tmp_path / "out", partitioned=True, engine=engine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "--workers 0: expected 1 or more"),
        ({"device": "cuda:1"}, "--device cuda:1: Ray chooses among the GPUs of a cluster; give cuda, cpu or auto"),
    ],
)
def test_options_of_one_machine_are_refused(verifier: Verifier, options: dict[str, Any], message: str) -> None:
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    with pytest.raises(OptionError) as failure:
        ray_engine(REQUEST, verifier, **options)
    assert str(failure.value) == message


def test_without_ray_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(OptionError) as failure:
        require_ray()
    assert str(failure.value) == (
        "--engine ray: the package ray is not installed (No module named 'ray.data'); pip install 'siamese[ray]', or "
        "leave the option out"
    )


def test_a_worker_says_what_it_could_not_write(
    verifier: Verifier, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Ray: a worker is an ordinary object."""
    from siamese.inference import embed_ray
    from siamese.inference.model_identity import weights_digest

    given = {"request": REQUEST, "device": "cpu", "weights": weights_digest(verifier), "run": "run"}
    worker = PartWorker(**given, folder=str(tmp_path / "out"))
    files = [str(path) for path in sorted(faces.rglob("0*.jpg"))[:3]]
    images = embed_ray.pa.table({"path": files, "file": files, "identity": files, "part": [4] * 3, "of": [3] * 3})
    assert worker(images).to_pylist() == [{"part": 4, "images": 3, "failed": 0, "error": ""}]
    assert (tmp_path / "out" / "part-00004.parquet").is_file()
    [short] = worker(images.slice(1)).to_pylist()
    assert short["error"] == f"{tmp_path / 'out'}: part 4: Ray gave 2 of 3 images; please report it"
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    [row] = PartWorker(**given, folder=str(blocked))(images).to_pylist()
    assert row["error"].startswith(f"{blocked}: part 4: ")
    assert row["images"] == 0


class Marking(ModelRequest):
    """Leaves a file for each time that a model is loaded."""

    marks: str

    def __init__(self, *, marks: str, **given: Any) -> None:
        super().__init__(**given)
        object.__setattr__(self, "marks", marks)

    def load(self, device: str) -> Verifier:
        import secrets

        (Path(self.marks) / secrets.token_hex(4)).touch()
        return ModelRequest.load(self, device)
