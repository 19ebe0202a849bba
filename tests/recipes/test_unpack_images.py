import stat
import zipfile
from pathlib import Path

import pytest
from bundled_recipe import unpack
from bundled_recipe.unpack import unpack_images

from siamese.errors import DataError


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_images_lie_where_the_archive_says(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {"faces/a/1.webp": b"one", "faces/b/2.jpg": b"two"})
    assert unpack_images(archive, tmp_path / "out") == 2
    assert (tmp_path / "out" / "faces" / "a" / "1.webp").read_bytes() == b"one"
    assert (tmp_path / "out" / "faces" / "b" / "2.jpg").read_bytes() == b"two"


@pytest.mark.parametrize("name", ["../outside.webp", "a/../../outside.webp", "/etc/x.webp", "a\\b.webp", "C:x.webp"])
def test_a_member_that_leads_outside_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path / "a.zip", {"faces/1.webp": b"good", name: b"bad"})
    with pytest.raises(DataError) as caught:
        unpack_images(archive, tmp_path / "out")
    assert str(caught.value) == (
        f"{archive}: {name!r} leads outside the folder; get the archive from its source again"
    )
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "outside.webp").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("faces/link.webp")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"'faces/link\.webp' is a link or device; get the archive from"):
        unpack_images(tmp_path / "a.zip", tmp_path / "out")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {"faces/run.py": b"import os"})
    with pytest.raises(DataError, match=r"'faces/run.py' is no image by its name; expected images alone"):
        unpack_images(archive, tmp_path / "out")


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MOST_MEMBERS", 1, "2 files, at most 1 are expected of face crops"),
        ("MOST_BYTES", 7, "8 bytes unpacked, at most 7 are expected of face crops"),
        ("MOST_BYTES_OF_ONE", 3, "'a.webp' has 4 bytes, at most 3 may be"),
    ],
)
def test_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    archive = archive_of(tmp_path / "a.zip", {"a.webp": b"1234", "b.webp": b"1234"})
    monkeypatch.setattr(unpack, limit, value)
    with pytest.raises(DataError, match=message):
        unpack_images(archive, tmp_path / "out")


def test_a_member_that_unpacks_to_more_than_it_declares_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {"a.webp": b"x" * 5000})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the declared size in both headers
        at = data.index(signature) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a\.zip: is no whole ZIP archive \(.*\); copy it again"):
        unpack_images(archive, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.webp"))


def test_a_damaged_member_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.webp", b"0123456789")
    data = (tmp_path / "a.zip").read_bytes().replace(b"0123456789", b"0123X56789")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"is no whole ZIP archive \(Bad CRC-32 for file 'a.webp'\); copy it again"):
        unpack_images(tmp_path / "a.zip", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.webp"))


def test_what_is_there_and_whole_is_kept_and_the_rest_is_mended(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {"a.webp": b"whole", "b.webp": b"other", "c.webp": b"third"})
    out = tmp_path / "out"
    unpack_images(archive, out)
    before = (out / "a.webp").stat().st_ino
    (out / "b.webp").write_bytes(b"othex")  # the same size, other content
    (out / "c.webp").unlink()
    unpack_images(archive, out)
    assert (out / "a.webp").stat().st_ino == before
    assert (out / "b.webp").read_bytes() == b"other"
    assert (out / "c.webp").read_bytes() == b"third"


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"a\.zip: is no whole ZIP archive \(File is not a zip file\); copy it again"):
        unpack_images(tmp_path / "a.zip", tmp_path / "out")
