"""The index of a pixel store: an append-only log of blocks with checksums, read by any number of processes.

A block that is torn (its writer was killed) or damaged is passed over, and reading goes on at the next one that is
whole. So nothing is ever rewritten, readers need no lock, and the worst that damage can do is to have images decoded
again.
"""

import errno
import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siamese.images.faces import Face
from siamese.images.loader import Outcome, Status

STATUSES: tuple[Status, ...] = ("ok", "no_face", "unreadable")
# Digest of the content; row of the pixels, -1 without; their CRC-32; the outcome, its face as box, landmarks, score.
ENTRY = np.dtype(
    [
        *(("digest", "V16"), ("row", "<i8"), ("checksum", "<u4"), ("status", "u1"), ("has_face", "u1")),
        *(("faces", "<i4"), ("face", "<f8", (15,))),
    ]
)
# Stamp of a file that has not changed since it was read, and the digest of its content.
KNOWN_FILE = np.dtype([("stamp", "V16"), ("digest", "V16")])
# Changes with the form of a block.
MAGIC = b"\x93SIAMPX1"
# Magic, numbers of entries, known files, bytes of text, CRC-32 of what follows; then the CRC-32 of these.
HEADER = struct.Struct("<8s4I")


@dataclass(frozen=True)
class Prepared:
    """One image as the store keeps it.

    Attributes:
        outcome: what happened to it; `detail` without the file's name, which is not a part of the content.
        row: where its pixels are, -1 where the outcome is not `ok`.
        checksum: CRC-32 of the pixels.
    """

    outcome: Outcome
    row: int
    checksum: int


class PixelIndex:
    """What is in a store, by digest of content; call `refresh` to see what other processes have added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0  # of the last whole block
        self._entries = np.zeros(0, ENTRY)
        self._count = 0
        self._position: dict[bytes, int] = {}
        self._details: dict[int, str] = {}
        self._stamps: dict[bytes, bytes] = {}
        self.next_row = 0

    def __len__(self) -> int:
        """How many images are known by their content."""
        return len(self._position)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._position

    def find(self, digest: bytes) -> Prepared | None:
        """The entry of a content, or None."""
        position = self._position.get(digest)
        if position is None:
            return None
        entry = self._entries[position]
        face = None
        if entry["has_face"]:
            numbers = entry["face"].astype(np.float32)
            face = Face(numbers[:4], numbers[4:14].reshape(5, 2), float(entry["face"][14]))
        faces = int(entry["faces"])
        outcome = Outcome(
            STATUSES[entry["status"]], self._details.get(position, ""), face, None if faces < 0 else faces
        )
        return Prepared(outcome, int(entry["row"]), int(entry["checksum"]))

    def content_of(self, stamp: bytes) -> bytes | None:
        """The digest of a file that has not changed since its stamp was recorded, or None."""
        return self._stamps.get(stamp)

    def forget(self, digest: bytes) -> None:
        """Take no notice of an entry any more: its pixels are damaged."""
        self._position.pop(digest, None)

    def refresh(self) -> None:
        """Read the blocks that were added since.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._end:
                    self._end = 0  # cut off since: read again what is left
                file.seek(self._end)
                data = file.read()
        except FileNotFoundError:
            return
        start, base = 0, self._end
        while (start := data.find(MAGIC, start)) >= 0:
            end = self._take(data, start)
            if end is None:
                start += 1
            else:
                start, self._end = end, base + end

    def append(self, items: Mapping[bytes, Prepared], stamps: Mapping[bytes, bytes]) -> None:
        """Add a block and wait until it is on the disk; its pixels must be there before. One process at a time.

        Args:
            items: entries by digest of content.
            stamps: digests of content by stamp of file.

        Raises:
            OSError: it cannot be written.
        """
        payload, text = _encode(items, stamps)
        header = HEADER.pack(MAGIC, len(items), len(stamps), len(text), zlib.crc32(payload))
        block = header + struct.pack("<I", zlib.crc32(header)) + payload
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.write(file, block) != len(block):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)
        self.refresh()

    def _take(self, data: bytes, start: int) -> int | None:
        """Add the block at `start`; returns where it ends, None if it is not whole."""
        body = start + HEADER.size + 4
        if body > len(data):
            return None
        header = data[start : body - 4]
        numbers: tuple[int, ...] = HEADER.unpack(header)[1:]
        entries, stamps, text, checksum = numbers
        middle = body + entries * ENTRY.itemsize
        words = middle + stamps * KNOWN_FILE.itemsize
        end = words + text
        if struct.unpack("<I", data[body - 4 : body])[0] != zlib.crc32(header):
            return None
        if end > len(data) or zlib.crc32(memoryview(data)[body:end]) != checksum:
            return None
        files = np.frombuffer(data, KNOWN_FILE, stamps, middle)
        self._stamps.update(zip(files["stamp"].tolist(), files["digest"].tolist(), strict=True))
        self._extend(np.frombuffer(data, ENTRY, entries, body), json.loads(data[words:end]))
        return end

    def _extend(self, entries: NDArray[np.void], details: list[str]) -> None:
        count = self._count + len(entries)
        if count > len(self._entries):  # in ever larger steps, as a list grows
            grown = np.zeros(max(count, 2 * self._count), ENTRY)
            grown[: self._count] = self._entries[: self._count]
            self._entries = grown
        self._entries[self._count : count] = entries
        self._position.update(zip(entries["digest"].tolist(), range(self._count, count), strict=True))
        failed = self._count + np.flatnonzero(entries["status"])
        self._details.update(zip(failed.tolist(), details, strict=True))
        self.next_row = max(self.next_row, 1 + int(entries["row"].max(initial=-1)))
        self._count = count


def _encode(items: Mapping[bytes, Prepared], stamps: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """A block's payload, and the text at its end."""
    entries = np.zeros(len(items), ENTRY)
    for entry, (digest, item) in zip(entries, items.items(), strict=True):
        outcome, face = item.outcome, item.outcome.face
        entry["digest"], entry["row"], entry["checksum"] = np.void(digest), item.row, item.checksum
        entry["status"] = STATUSES.index(outcome.status)
        entry["faces"] = -1 if outcome.faces is None else outcome.faces
        if face is not None:
            entry["has_face"] = 1
            entry["face"] = [*face.box.tolist(), *face.landmarks.ravel().tolist(), face.score]
    files = np.array([(np.void(stamp), np.void(digest)) for stamp, digest in stamps.items()], KNOWN_FILE)
    details = [item.outcome.detail for item in items.values() if item.outcome.status != "ok"]
    text = json.dumps(details).encode()
    return entries.tobytes() + files.tobytes() + text, text
