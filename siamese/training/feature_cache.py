"""Features of a frozen encoder, computed once and kept: heads then train on them without running the encoder again.

They are kept from run to run, named by everything that decides them (weights, input, preset, seed, views, pixels), so
that another head or loss on the same images starts at once. A run that is killed while it computes goes on where it
was.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import siamese
from siamese.atomic import write_text
from siamese.encoders.encoder import Encoder
from siamese.encoders.registry import UNTRAINED_OPENVINO
from siamese.errors import DataError
from siamese.images.cache import reserve
from siamese.model.embeddings import default_batch
from siamese.progress import log, progress
from siamese.training.sources import PixelSource

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Ints = NDArray[np.int64]
# Images hashed at a time.
_CHUNK = 4096
# Sources, beside the encoder, that decide what a view looks like.
_SOURCES = ("augment.py", "distortion.py", "input_spec.py", "transforms.py")


def features_key(encoder: Encoder, pixels: NDArray[np.uint8], rows: Ints, what: dict[str, Any]) -> str:
    """The name of the features of some images: equal where all that decides them is.

    Args:
        encoder: its weights and input.
        pixels: shape (M, H, W, 3), uint8.
        rows: which of them.
        what: all else that decides the features, as JSON.
    """
    digest = blake2b(digest_size=16)
    libraries = ("torch", "albumentations", "timm", *(("openvino",) if UNTRAINED_OPENVINO in encoder.name else ()))
    packages = {name: version(name) for name in libraries}
    spec = encoder.input_spec.model_dump(mode="json")
    known = {"encoder": encoder.name, "spec": spec, "code": _code(), **packages, **what}
    digest.update(json.dumps(known, sort_keys=True).encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    digest.update(rows.tobytes())
    for start in range(0, len(rows), _CHUNK):
        digest.update(np.ascontiguousarray(pixels[rows[start : start + _CHUNK]]).tobytes())
    return digest.hexdigest()


def _code() -> str:
    """What the sources of the views say: with any change to them features are computed anew."""
    folder = Path(siamese.__file__).parent / "images"
    try:
        return blake2b(b"".join((folder / name).read_bytes() for name in _SOURCES), digest_size=16).hexdigest()
    except OSError:  # installed without its sources
        return siamese.__version__


class FeatureFile:
    """Features of K views of N images in a file, mapped into memory.

    Args:
        file: where they lie; its neighbour `.json` says how far they got.
        shape: (K, N, F).

    Attributes:
        features: shape (K, N, F), float32.
        done: how many rows, view after view, are there.

    Raises:
        DataError: the disk has no room.
    """

    def __init__(self, file: Path, shape: tuple[int, int, int]) -> None:
        self._file, self._state = file, file.with_suffix(".json")
        size = int(np.prod(shape, dtype=np.int64)) * 4
        whole = file.is_file() and file.stat().st_size == size
        done = self._read_done() if whole else 0
        self.done = done if 0 <= done <= shape[0] * shape[1] else 0
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not self.done:
                self._state.unlink(missing_ok=True)  # else a kill before the first `keep` would leave it to lie
                # Never cut short where it lies: another run may have it mapped, and is filling it with the same.
                if not whole:
                    file.unlink(missing_ok=True)
                with file.open("ab") as opened:
                    reserve(opened.fileno(), size)
            self.features: NDArray[np.float32] = np.memmap(file, np.float32, "r+", shape=shape)
        except OSError as error:
            need = f"{size / 1e9:.1f} GB of features"
            raise DataError(
                f"{file}: no room for {need} ({error.strerror}); free some, lower --views, or use --features live"
            ) from error
        with suppress(OSError):
            os.utime(file)  # used now: the last to give way

    def put(self, features: NDArray[np.float32]) -> None:
        """Add the next rows; they count only once they are on the disk."""
        flat = self.features.reshape(-1, self.features.shape[2])
        flat[self.done : self.done + len(features)] = features
        self.done += len(features)

    def keep(self) -> None:
        """Let what was put survive a kill."""
        self.features.flush()  # type: ignore[attr-defined]
        write_text(self._state, json.dumps({"done": self.done}) + "\n")

    def _read_done(self) -> int:
        try:
            return int(json.loads(self._state.read_text(encoding="utf-8"))["done"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep other runs from filling the same file for the time of a `with` block; they find it filled.

    Where the system or the disk has no locks, nothing happens: two runs then compute the same twice.
    """
    lock = -1
    try:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        if lock >= 0:
            os.close(lock)


def make_room(folder: Path, limit: float, kept: Path) -> None:
    """Remove the features not used for longest, until all in a folder take no more than `limit` bytes."""
    files = sorted(folder.glob("*.f32"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > limit and file != kept:
            file.unlink(missing_ok=True)
            for suffix in (".json", ".lock"):
                file.with_suffix(suffix).unlink(missing_ok=True)


class _Chunks(Dataset[Tensor]):
    """Images of the rows that are missing yet, a batch of one view at a time."""

    def __init__(self, source: PixelSource, rows: Ints, views: int, first: int, batch: int) -> None:
        self._source, self._rows, self._batch = source, rows, batch
        ends = [(view, start) for view in range(views) for start in range(0, len(rows), batch)]
        self._starts = [(view, start) for view, start in ends if view * len(rows) + start >= first]

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Tensor:
        view, start = self._starts[number]
        rows = self._rows[start : start + self._batch]
        return self._source.view(rows, np.full(len(rows), view, np.int64))


@torch.inference_mode()
def fill(
    store: FeatureFile, encoder: Encoder, source: PixelSource, rows: Ints, *, device: str, workers: int = 0
) -> None:
    """Compute the features that a file lacks.

    Args:
        store: for K views of these images.
        encoder: on `device`, in evaluation.
        source: gives views of images.
        rows: the images, shape (N,).
        device: where the encoder runs.
        workers: processes that prepare images.
    """
    views, count, _ = store.features.shape
    batch = default_batch(device)
    store.done -= store.done % count % batch  # a kill may have come between batches of another device
    chunks = _Chunks(source, rows, views, store.done, batch)
    if not len(chunks):
        log.info("features of %d views of %d images: kept from before", views, count)
        return
    # A generator of its own: the random numbers of the run must not hang on whether features were kept.
    loader = DataLoader(chunks, batch_size=None, num_workers=workers, generator=torch.Generator())
    for number, images in enumerate(progress(_given(loader), f"features of {views} x {count} images", len(chunks))):
        store.put(encoder(images.to(device)).float().cpu().numpy())
        if number % 256 == 255:
            store.keep()
    store.keep()


def _given(loader: "DataLoader[Tensor]") -> Iterator[Tensor]:
    yield from loader
