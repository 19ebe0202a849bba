"""Disks that are really full: a small file system, and a process whose files may not grow."""

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Outcome, start

NO_SPACE, TOO_LARGE = "No space left on device", "File too large"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes; the test is skipped where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


def grow(folder: Path, size: int = 200_000_000) -> None:
    """Give a small file system more room."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)  # noqa: S607


def limit_files(size: int) -> Callable[[], None]:
    """For a process to begin with: the system then writes no file beyond a size.

    It says so by an error of the write, as a full disk does: Python lets pass the signal that comes with it.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def run_limited(size: int, *arguments: object) -> Outcome:
    """The program, which may write no file beyond a size."""
    process = start(*arguments, preexec_fn=limit_files(size))
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)
