"""The folder beside an output: whose it is, when it stays, and when it goes."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from siamese.errors import DataError
from siamese.inference.embedding_store_folder import no_room, work_folder


def work(
    folder: Path, about: dict[str, int], *, finished: bool = True, fail: type[BaseException] | None = None
) -> None:
    with work_folder(folder / "out.csv", about) as path:
        if finished:
            (path / "records").write_bytes(b"something")
        if fail is not None:
            raise fail


def test_it_goes_after_success(tmp_path: Path) -> None:
    work(tmp_path, {"model": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_it_stays_after_a_failure_with_what_was_finished(tmp_path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure):
        work(tmp_path, {"model": 1}, fail=failure)
    assert (tmp_path / "out.csv.work" / "records").read_bytes() == b"something"
    with pytest.raises(failure), work_folder(tmp_path / "out.csv", {"model": 1}) as path:
        assert (path / "records").read_bytes() == b"something"
        raise failure


def test_it_goes_after_a_failure_before_anything_was_finished(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        work(tmp_path, {"model": 1}, finished=False, fail=OSError)
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_of_something_else_is_begun_anew_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OSError):
        work(tmp_path, {"model": 1}, fail=OSError)
    with work_folder(tmp_path / "out.csv", {"model": 2}) as path:
        assert not (path / "records").exists()
    folder = tmp_path / "out.csv.work"
    assert f"{folder} is of another model, preprocessing or root; every image is embedded anew" in caplog.messages


def test_a_folder_of_somebody_else_is_never_touched(tmp_path: Path) -> None:
    folder = tmp_path / "out.csv.work"
    folder.mkdir()
    (folder / "records").write_text("mine")
    with pytest.raises(DataError) as error:
        work(tmp_path, {"model": 1})
    assert str(error.value) == (
        f"{folder}: is in the way of what `-o {tmp_path / 'out.csv'}` keeps while it works, and was made by "
        "something else; rename it, or name another output"
    )
    assert (folder / "records").read_text() == "mine"
    (folder / "records").unlink()
    work(tmp_path, {"model": 1})  # an empty one may be taken
    folder.write_text("a file")
    with pytest.raises(DataError, match=r"out\.csv\.work: is in the way of what"):
        work(tmp_path, {"model": 1})
    assert folder.read_text() == "a file"


def test_two_runs_cannot_make_the_same_output(tmp_path: Path) -> None:
    with work_folder(tmp_path / "out.csv", {"model": 1}) as path:
        (path / "records").write_bytes(b"of the first")
        with pytest.raises(DataError, match=r"out\.csv: another run is making it; wait until it has ended, or name"):
            work(tmp_path, {"model": 2})
        assert (path / "records").read_bytes() == b"of the first"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_a_killed_run_left_holds_nobody_up(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        work(tmp_path, {"model": 1}, fail=OSError)
    file = os.open(tmp_path / "out.csv.work" / "lock", os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    os.close(file)  # as the system does for a killed process
    work(tmp_path, {"model": 1})


def test_without_an_output_it_is_a_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError), work_folder(None, {}) as path:
        assert path.parent == tmp_path
        (path / "records").write_bytes(b"something")
        raise OSError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "as the library words it")
    with pytest.raises(DataError) as error, no_room(tmp_path / "out.csv"):
        raise full
    assert str(error.value) == (
        f"{tmp_path / 'out.csv'}: no room to write it (No space left on device); free some, and give the same "
        "command again"
    )
    (tmp_path / "out.csv.work").mkdir()
    with (
        pytest.raises(DataError, match=r"again; what was finished is kept in .*out\.csv\.work$"),
        no_room(tmp_path / "out.csv"),
    ):
        raise full
    with pytest.raises(DataError, match=r"no room for what has to be kept .* TMPDIR .* -o FILE"), no_room(None):
        raise full
    with pytest.raises(PermissionError), no_room(None):
        raise PermissionError(errno.EACCES, "denied")
