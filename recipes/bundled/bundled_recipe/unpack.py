"""Unpacking an archive of images: nothing outside the folder, nothing too large, every file whole.

Links and names that lead elsewhere are refused before anything is written. A member that is there with the checksum
that the archive gives is kept, so an interrupted run goes on.
"""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from siamese.atomic import atomic_path
from siamese.errors import DataError
from siamese.images.decode import SUFFIXES
from siamese.progress import log, progress

MOST_MEMBERS = 200_000
MOST_BYTES = 4 * 2**30
MOST_BYTES_OF_ONE = 16 * 2**20


def unpack_images(archive: Path, folder: Path) -> int:
    """Unpack the images of a ZIP archive below `folder`, under the names they have in it.

    Returns:
        How many images there are.

    Raises:
        DataError: not a whole ZIP archive, a member that is no image or leads outside the folder, or more members or
            bytes than an archive of face crops has.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            _check(archive, members)
            todo = [member for member in members if not _is_there(folder / member.filename, member)]
            if len(todo) < len(members):
                log.info("%s: %d of %d images were unpacked before", archive, len(members) - len(todo), len(members))
            for member in progress(todo, f"unpacking {archive.name}", unit="img"):
                _write(opened, member, folder / member.filename)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{archive}: is no whole ZIP archive ({reason}); copy it again") from error
    except OSError as error:
        if error.filename not in (None, str(archive)):
            raise
        raise DataError(f"{archive}: cannot be read ({error.strerror or error}); copy it again") from error
    return len(members)


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise DataError(f"{archive}: holds no files; expected an archive of images")
    if len(members) > MOST_MEMBERS:
        raise DataError(f"{archive}: {len(members):,} files, at most {MOST_MEMBERS:,} are expected of face crops")
    if (total := sum(member.file_size for member in members)) > MOST_BYTES:
        raise DataError(f"{archive}: {total:,} bytes unpacked, at most {MOST_BYTES:,} are expected of face crops")
    for member in members:
        _check_member(archive, member)


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or "\\" in name or ".." in posix.parts:
        raise DataError(f"{archive}: {name!r} leads outside the folder; get the archive from its source again")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DataError(f"{archive}: {name!r} is a link or device; get the archive from its source again")
    if posix.suffix.lower() not in SUFFIXES:
        raise DataError(f"{archive}: {name!r} is no image by its name; expected images alone")
    if member.file_size > MOST_BYTES_OF_ONE:
        raise DataError(f"{archive}: {name!r} has {member.file_size:,} bytes, at most {MOST_BYTES_OF_ONE:,} may be")


def _is_there(path: Path, member: zipfile.ZipInfo) -> bool:
    try:
        return path.stat().st_size == member.file_size and zlib.crc32(path.read_bytes()) == member.CRC
    except OSError:
        return False


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    # Read to the declared size and no further, whatever the compressed data would grow to; the end checks the CRC.
    with opened.open(member) as source:
        data = source.read(member.file_size + 1)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
