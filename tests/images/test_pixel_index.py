"""The index of a store of pixels: what it was given comes back, and a torn end costs nothing before it."""

from pathlib import Path

import numpy as np

from siamese.images.faces import Face
from siamese.images.loader import Outcome
from siamese.images.pixel_index import PixelIndex, Prepared


def test_a_torn_end_is_passed_over_and_the_next_block_is_found(tmp_path: Path) -> None:
    index = PixelIndex(tmp_path / "index")
    blocks = [{bytes([number]) * 16: Prepared(Outcome("ok"), number, number)} for number in range(3)]
    index.append(blocks[0], {})
    first = (tmp_path / "index").stat().st_size
    index.append(blocks[1], {b"s" * 16: b"\1" * 16})
    whole = (tmp_path / "index").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "index").write_bytes(whole[:end])
        torn = PixelIndex(tmp_path / "index")
        torn.refresh()
        assert len(torn) == (end >= first)
        torn.append(blocks[2], {})
        read = PixelIndex(tmp_path / "index")
        read.refresh()
        assert read.find(b"\2" * 16) == blocks[2][b"\2" * 16]
        assert b"\1" * 16 not in read
        assert read.content_of(b"s" * 16) is None


def test_an_index_gives_back_what_it_was_given(tmp_path: Path) -> None:
    face = Face(np.array([1.5, 2, 3, 4], np.float32), np.arange(10, dtype=np.float32).reshape(5, 2) / 7, 1 / 3)
    items = {
        b"a" * 16: Prepared(Outcome("ok", face=face, faces=2), 7, 2**32 - 1),
        b"\0" * 16: Prepared(Outcome("no_face", "no face found", faces=0), -1, 0),
        b"c" * 16: Prepared(Outcome("unreadable", "schräg \n kaputt"), -1, 0),
    }
    PixelIndex(tmp_path / "index").append(items, {b"\0" * 16: b"a" * 16})
    index = PixelIndex(tmp_path / "index")
    index.refresh()
    assert index.next_row == 8
    assert index.content_of(b"\0" * 16) == b"a" * 16
    assert index.find(b"x" * 16) is None
    for digest in (b"\0" * 16, b"c" * 16):
        assert index.find(digest) == items[digest]
    found = index.find(b"a" * 16)
    assert found is not None
    assert found.outcome.face is not None
    assert (found.row, found.checksum, found.outcome.faces) == (7, 2**32 - 1, 2)
    np.testing.assert_array_equal(found.outcome.face.landmarks, face.landmarks)
    np.testing.assert_array_equal(found.outcome.face.box, face.box)
    assert found.outcome.face.score == 1 / 3
