"""Embedding parts of a corpus under Ray Data, on all cores and machines of a cluster; needs the extra `ray`.

The parts are those of `embed_data`, written by the same function, so a run can be ended and go on, also with the
other engine. Images and output lie where every machine of the cluster finds them by the same path.
"""

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from siamese.errors import DataError, DeviceError, OptionError, SiameseError
from siamese.inference.embed_ahead import AheadEmbedder
from siamese.inference.embed_part import PartDone, embed_part
from siamese.inference.embed_work import WorkFolder
from siamese.inference.model_identity import weights_digest

if TYPE_CHECKING:
    from siamese.inference.verifier import Verifier


@dataclass(frozen=True)
class ModelRequest:
    """How each process of a cluster loads the model; arguments of `Verifier.load`."""

    model: str
    align: str = "auto"
    face: str = "auto"
    input_size: tuple[int, int] | None = None
    seed: int | None = None
    runtime: str = "auto"
    precision: str = "f32"

    def load(self, device: str) -> "Verifier":
        """Load it onto a device."""
        from siamese.inference.verifier import Verifier

        return Verifier.load(**asdict(self), device=device)


def require_ray() -> Any:
    """The package `ray`, with Ray Data.

    Raises:
        OptionError: it is not installed.
    """
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError as error:
        raise OptionError(
            f"--engine ray: the package ray is not installed ({error}); pip install 'siamese[ray]', or leave the "
            "option out"
        ) from None


def ray_engine(
    request: ModelRequest, verifier: "Verifier", *, device: str = "auto", workers: int | None = None
) -> "RayEngine":
    """Embed parts under Ray Data: each worker process loads the model once and embeds part after part.

    A Ray that runs already (`ray.init` of the caller, `RAY_ADDRESS`, a cluster of this machine) is used, otherwise
    one is started here and ended with the work.

    Args:
        request: how a worker loads the model.
        verifier: the model as the caller loaded it; a worker that gets other weights fails.
        device: `auto` for the cluster's GPUs, or its cores where it has none; `cpu`; `cuda`.
        workers: processes; None for one a GPU, or one a core.

    Raises:
        OptionError: Ray is not installed, fewer than one worker, or a device of one machine.
    """
    require_ray()
    if workers is not None and workers < 1:
        raise OptionError(f"--workers {workers}: expected 1 or more")
    if device not in ("auto", "cpu", "cuda"):
        raise OptionError(f"--device {device}: Ray chooses among the GPUs of a cluster; give cuda, cpu or auto")
    return RayEngine(request, weights_digest(verifier), device, workers)


class RayEngine:
    """Embeds parts under Ray Data; see `ray_engine`, which checks the arguments.

    Args:
        request: how a worker loads the model.
        weights: digest that its weights must have.
        device: `auto`, `cpu` or `cuda`.
        workers: processes; None for one a GPU, or one a core.

    Attributes:
        place: where the parts were embedded, in words, once that has begun.
    """

    def __init__(self, request: ModelRequest, weights: str, device: str, workers: int | None) -> None:
        self._request, self._weights, self._device, self._workers = request, weights, device, workers
        self.place = "no worker: every part was done"

    def __call__(
        self, work: WorkFolder, numbers: Sequence[int], advance: Callable[[int], object]
    ) -> Iterator[PartDone]:
        """Embed parts; `advance` is told of whole parts.

        Raises:
            DataError: a part cannot be written, or a worker failed.
            DeviceError: GPUs were asked for and the cluster has none.
        """
        ray = require_ray()
        with _running(ray):
            for row in self._rows(ray, work, numbers):
                if row["error"]:
                    raise DataError(row["error"])
                advance(row["images"])
                yield PartDone(row["part"], row["images"], row["failed"])

    def _rows(self, ray: Any, work: WorkFolder, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        if self._device == "cuda" and not gpus:
            raise DeviceError("--device cuda: the Ray cluster has no GPU; use --device cpu or --device auto")
        device = "cuda" if gpus and self._device != "cpu" else "cpu"
        size = min(len(numbers), self._workers or max(1, gpus if device == "cuda" else cores))
        self.place = f"{size} Ray worker{'s' if size != 1 else ''} on {device}"
        given = {
            "request": self._request,
            "device": device,
            "weights": self._weights,
            "folder": str(work.folder.absolute()),
            "run": work.run,
        }
        # A block to a part: what Ray gives to one worker, and to another where the first was lost.
        parts = ray.data.from_arrow([_block(work, number) for number in numbers])
        done = parts.map_batches(
            PartWorker,
            fn_constructor_kwargs=given,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=size),
            **({"num_gpus": 1} if device == "cuda" else {"num_cpus": 1}),
        )
        yield from done.iter_rows()


def _block(work: WorkFolder, number: int) -> pa.Table:
    """The images of a part, by names that hold in every process, and which part it is."""
    images = work.images(number)
    files = [os.path.abspath(file) for file in images.column("file").to_pylist()]  # noqa: PTH100 - it keeps `..`
    images = images.set_column(images.column_names.index("file"), "file", pa.array(files, pa.string()))
    for name, value in (("part", number), ("of", images.num_rows)):
        images = images.append_column(name, pa.array([value] * images.num_rows, pa.int64()))
    return images.combine_chunks()


class PartWorker:
    """A process of the cluster: loads the model once, then embeds whatever parts it is given.

    Args:
        request: how to load the model.
        device: to load it onto.
        weights: digest that they must have.
        folder: where parts are written.
        run: what tells this run from others.
    """

    def __init__(self, *, request: ModelRequest, device: str, weights: str, folder: str, run: str) -> None:
        self._folder, self._run = Path(folder), run
        self._error = ""
        try:
            verifier = request.load(device)
            if weights_digest(verifier) != weights:
                self._error = f"{request.model}: has other weights for a Ray worker; copy the model to every machine"
            self._embedder = AheadEmbedder(verifier)
        except (SiameseError, OSError) as error:  # told with the first part: Ray would start the worker for ever
            self._error = f"a Ray worker cannot load the model: {error}"

    def __call__(self, images: pa.Table) -> pa.Table:
        """Embed a part: its images, with columns `part` (its number) and `of` (how many images it has).

        Returns:
            One row: `part`, `images`, `failed`, and `error`, empty or what went wrong.
        """
        number, count = images.column("part")[0].as_py(), images.column("of")[0].as_py()
        row = {"part": number, "images": 0, "failed": 0, "error": self._error}
        if not self._error:
            try:
                if images.num_rows != count:
                    raise DataError(f"Ray gave {images.num_rows} of {count} images; please report it")
                done = embed_part(self._embedder.embed, images, self._folder, number, self._run)
                row |= {"images": done.images, "failed": done.failed}
            except (SiameseError, OSError) as error:
                row["error"] = " ".join(f"{self._folder}: part {number}: {error}".split())
        return pa.Table.from_pylist([row])


@contextmanager
def _running(ray: Any) -> Iterator[None]:
    """Use the Ray that runs, or start one and end it; its own bars and notes are silent meanwhile."""
    started = not ray.is_initialized()
    if started:
        _start(ray)
    notes = logging.getLogger("ray.data")
    level = notes.level
    context = ray.data.DataContext.get_current()
    bars = context.enable_progress_bars
    try:
        notes.setLevel(logging.ERROR)
        context.enable_progress_bars = False
        yield
    finally:
        context.enable_progress_bars = bars
        notes.setLevel(level)
        if started:
            ray.shutdown()


def _start(ray: Any) -> None:
    """Join the cluster that is there, or start one of this machine's cores."""
    # What is embedded here is nobody else's business: a Ray that we start does not report its use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise OptionError(f"--engine ray: no Ray to be had ({' '.join(str(error).split())[:200]})") from None
