"""A disk without room, in words; and files that OpenVINO writes."""

import errno
import os
from pathlib import Path

import pytest

from siamese.atomic import atomic_path
from siamese.full_disk import FULL, errno_of, is_full, word_os_error, writing

ADVICE = "free some or name another place, and give the same command again"


@pytest.mark.parametrize("number", FULL)
def test_a_full_disk_is_told_with_what_to_do(number: int) -> None:
    error = OSError(number, os.strerror(number), "out.csv")
    assert is_full(error)
    assert word_os_error(error) == f"out.csv: no room to write it ({os.strerror(number)}); {ADVICE}"


def test_any_other_error_is_told_as_the_system_does() -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "out.csv")
    assert not is_full(error)
    assert word_os_error(error) == "out.csv: Permission denied"
    assert word_os_error(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert word_os_error(OSError("something else")) == "something else"
    assert errno_of(OSError("something else")) is None


def test_the_number_of_an_error_of_pyarrow_is_found_in_its_text() -> None:
    error = OSError("Error writing bytes to file. Detail: [errno 28] No space left on device")
    assert (error.errno, errno_of(error)) == (None, errno.ENOSPC)
    assert word_os_error(error) == f"no room to write it (No space left on device); {ADVICE}"


def test_what_is_written_is_named_and_not_a_file_on_the_way_to_it() -> None:
    def write(error: OSError) -> None:
        with writing(Path("made")):
            raise error

    with pytest.raises(OSError, match="No space left") as caught:
        write(OSError(errno.ENOSPC, "No space left on device", ".made-123/network.bin"))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "made")
    with pytest.raises(PermissionError) as other:
        write(PermissionError(errno.EACCES, "Permission denied", "elsewhere"))
    assert other.value.filename == "elsewhere"


@pytest.mark.parametrize("named", [True, False])
def test_an_atomic_write_names_the_file_that_was_asked_for(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "scores.csv"

    def write() -> None:
        with atomic_path(path) as temporary:
            raise OSError(errno.ENOSPC, "No space left on device", *([str(temporary)] if named else []))

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_atomic_write_leaves_the_names_of_other_files(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "scores.csv"):
            (tmp_path / "gone").read_text()

    with pytest.raises(FileNotFoundError) as caught:
        write()
    assert caught.value.filename == str(tmp_path / "gone")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught, atomic_path(tmp_path / "scores.csv"):
        pytest.fail("the body must not run")
    tmp_path.chmod(0o700)
    assert caught.value.filename == str(tmp_path / "scores.csv")
