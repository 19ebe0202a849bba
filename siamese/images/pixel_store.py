"""Prepared pixels that outlive a run, found again by the content of their files.

A store holds the images of one way of preparing them, in three files: `pixels`, rows of equal size, mapped for
reading; `index`, see `pixel_index`; and `lock`, held while something is added. Rows are on the disk before the index
names them, so a writer that is killed leaves the store as it was. Every row has a checksum, verified whenever a run
takes it up: what is damaged is prepared again.
"""

import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from siamese.cache_folder import cache_folder
from siamese.errors import ImageError
from siamese.images.decode import GIVEN_AS_BYTES, read_file
from siamese.images.fingerprint import digest_of, stamp_of
from siamese.images.loader import ImageLoader, Outcome
from siamese.images.mapped_pixels import MappedPixels
from siamese.images.pixel_index import PixelIndex, Prepared
from siamese.images.store_folder import StoreFolder, preparation
from siamese.progress import log

# Files read and decoded at a time: bounds what full-size photographs take before they are reduced.
BATCH = 16
GIGABYTE = 1_000_000_000

# An outcome without the name of the file, and the pixels.
Image = tuple[Outcome, NDArray[np.uint8]]


def open_pixel_store(where: Literal["auto", "off"] | Path, limit: float, loader: ImageLoader) -> "PixelStore | None":
    """Open the store for the images of a loader; None where there is none, with a warning if one was wanted.

    Args:
        where: `auto` for the user's cache folder, `off` for none, or a folder.
        limit: gigabytes (10^9 bytes) that all stores there may take; those not used for longest give way.
        loader: prepares what is not there yet.
    """
    if where == "off":
        return None
    try:
        home = cache_folder() if where == "auto" else where
        folder = StoreFolder(home / "pixels", preparation(loader), int(limit * GIGABYTE))
        return PixelStore(folder, loader)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        log.warning(
            "no cache of decoded images (%s): every run decodes anew; --cache FOLDER puts it elsewhere", reason
        )
        return None


class PixelStore:
    """Images as a loader prepares them, kept in a folder.

    A store that cannot be written, or has no more room, says so once, takes nothing more and still gives what it has.

    Args:
        folder: where it is, and how large it may become.
        loader: prepares what is not there yet.

    Raises:
        OSError: the folder cannot be read.
    """

    def __init__(self, folder: StoreFolder, loader: ImageLoader) -> None:
        self._folder, self._loader = folder, loader
        self._row_bytes = int(np.prod((*loader.spec.size, 3)))
        self._index = PixelIndex(folder.path / "index")
        self._index.refresh()
        self._file = -1
        self._taken = 0
        self._takes = True
        if folder.complaint:
            self._give_up(folder.complaint)

    def __len__(self) -> int:
        """How many images are known by their content."""
        return len(self._index)

    def prepare(self, paths: Sequence[Path]) -> tuple[NDArray[np.uint8], list[Outcome], NDArray[np.int64]]:
        """Prepare images; what the store has not is decoded and added to it, in one step at the end.

        Outcomes other than `ok` are kept too, unless the file could not be read at all.

        Returns:
            Pixels (N, H, W, 3) uint8, black where the outcome is not `ok`; the outcomes; and the row of each image,
            -1 where it has none.
        """
        answers: list[bytes | Outcome] = []
        images: dict[bytes, Image] = {}
        new: dict[bytes, Image] = {}
        stamps: dict[bytes, bytes] = {}
        for start in range(0, len(paths), BATCH):
            contents: dict[bytes, bytes] = {}
            answers += [self._identify(path, images, contents, stamps) for path in paths[start : start + BATCH]]
            if contents:
                pixels, outcomes = self._loader.load(list(contents.values()))
                decoded = dict(zip(contents, zip(map(_without_name, outcomes), pixels, strict=True), strict=True))
                new |= decoded
                images |= decoded
        self._add(new, stamps)
        prepared = np.zeros((len(paths), *self._loader.spec.size, 3), np.uint8)
        rows = np.full(len(paths), -1, np.int64)
        named = []
        for number, (path, answer) in enumerate(zip(paths, answers, strict=True)):
            outcome, prepared[number] = (answer, 0) if isinstance(answer, Outcome) else images[answer]
            kept = None if isinstance(answer, Outcome) else self._index.find(answer)
            rows[number] = -1 if kept is None else kept.row
            named.append(outcome if isinstance(answer, Outcome) else _with_name(outcome, path))
        self._taken += len(images)
        return prepared, named, rows

    def mapped(self, rows: NDArray[np.int64]) -> MappedPixels:
        """Rows that `prepare` has given, mapped from the file; -1 is a black image."""
        height, width = self._loader.spec.size
        return MappedPixels(self._folder.pixels, rows, (height, width))

    def close(self) -> None:
        """Let go of the folder; what was mapped stays readable."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._folder.close()

    def _identify(
        self, path: Path, images: dict[bytes, Image], contents: dict[bytes, bytes], stamps: dict[bytes, bytes]
    ) -> bytes | Outcome:
        """The digest of a file, whose image is then in `images`, or its bytes in `contents`; or why it has none."""
        try:
            data = None
            stamp = stamp_of(path)
            digest = self._index.content_of(stamp) if stamp else None
            if digest is None:
                data = read_file(path)
                digest = digest_of(data)
                if stamp and stamp == stamp_of(path):  # not written to meanwhile
                    stamps[stamp] = digest
            if digest in images or digest in contents:
                return digest
            if (kept := self._take(digest)) is not None:
                images[digest] = kept
                return digest
            data = read_file(path) if data is None else data
            digest = digest_of(data)
            contents[digest] = data
        except ImageError as error:
            return Outcome("unreadable", str(error))
        return digest

    def _take(self, digest: bytes) -> Image | None:
        kept = self._index.find(digest)
        if kept is None:
            return None
        if kept.row < 0:
            return kept.outcome, np.zeros((*self._loader.spec.size, 3), np.uint8)
        pixels = self._read(kept.row)
        if len(pixels) != self._row_bytes or zlib.crc32(pixels) != kept.checksum:
            log.info("a damaged row in %s is prepared again", self._folder.pixels)
            self._index.forget(digest)
            return None
        return kept.outcome, np.frombuffer(pixels, np.uint8).reshape(*self._loader.spec.size, 3)

    def _read(self, row: int) -> bytes:
        try:
            if self._file < 0:
                self._file = os.open(self._folder.pixels, os.O_RDONLY)
            return os.pread(self._file, self._row_bytes, row * self._row_bytes)
        except OSError:
            return b""

    def _add(self, images: Mapping[bytes, Image], stamps: Mapping[bytes, bytes]) -> None:
        if not self._takes or not (images or stamps):
            return
        try:
            with self._folder.locked():
                self._index.refresh()
                new = {digest: image for digest, image in images.items() if digest not in self._index}
                if not self._folder.make_room(len(new) * self._row_bytes):
                    if self._taken < self._index.next_row // 2:
                        self._folder.start_anew_next_time()
                    self._give_up("no room within --cache-limit")
                    return
                self._write(new, stamps)
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _write(self, images: Mapping[bytes, Image], stamps: Mapping[bytes, bytes]) -> None:
        first = self._index.next_row
        items: dict[bytes, Prepared] = {}
        rows: list[bytes] = []
        for digest, (outcome, pixels) in images.items():
            if outcome.status == "ok":
                rows.append(pixels.tobytes())
                items[digest] = Prepared(outcome, first + len(rows) - 1, zlib.crc32(rows[-1]))
            else:
                items[digest] = Prepared(outcome, -1, 0)
        file = os.open(self._folder.pixels, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            _write_all(file, b"".join(rows), first * self._row_bytes)
            os.fsync(file)
        except OSError:
            with suppress(OSError):  # a full disk needs the room more than anyone needs a part of it
                os.ftruncate(file, first * self._row_bytes)
            raise
        finally:
            os.close(file)
        self._index.append(items, stamps)

    def _give_up(self, reason: str) -> None:
        self._takes = False
        log.warning(
            "the cache of decoded images in %s takes nothing new (%s): what it lacks is decoded for this run alone; "
            "--cache FOLDER puts it elsewhere, --cache off does without",
            *(self._folder.path, reason),
        )


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _without_name(outcome: Outcome) -> Outcome:
    return replace(outcome, detail=outcome.detail.removeprefix(f"{GIVEN_AS_BYTES}: "))


def _with_name(outcome: Outcome, path: Path) -> Outcome:
    return replace(outcome, detail=f"{path}: {outcome.detail}") if outcome.status == "unreadable" else outcome
