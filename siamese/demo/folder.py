"""Synthetic identities as a folder of images, laid out like any other data set."""

from pathlib import Path

import cv2

from siamese.atomic import atomic_path
from siamese.demo.identity import check_at_least, identity_stream, sample_identities
from siamese.demo.render import check_size, render
from siamese.demo.variation import sample_variation
from siamese.errors import DataError

_JPEG_QUALITY = 92


def write_identities(folder: Path, *, identities: int, images: int, seed: int, size: int = 112) -> None:
    """Write `folder/person_001/001.jpg`, ...: `images` JPEG files for each of `identities` people.

    Image j of identity i depends on `seed`, i and j alone: the same seed gives the same bytes, and a larger
    set contains the smaller one. Files of an earlier, interrupted run are replaced.

    Args:
        folder: where the people go; created where missing.
        identities: how many people, at least 1.
        images: how many images of each, at least 1.
        seed: 0 or more.
        size: side of each image in pixels.

    Raises:
        OptionError: for a count, seed or size out of range.
        DataError: where `folder` is a file, or holds what would end up mixed with the new images.
    """
    check_at_least("images", images, 1)
    check_size(size)
    people = sample_identities(identities, seed)
    paths = [
        [folder / f"person_{i:03d}" / f"{j:03d}.jpg" for j in range(1, images + 1)] for i in range(1, identities + 1)
    ]
    _check_folder(folder, {path for row in paths for path in row})
    for i, (person, row) in enumerate(zip(people, paths, strict=True)):
        for j, path in enumerate(row):
            image = render(person, sample_variation(identity_stream(seed, i, 1, j)), size)
            with atomic_path(path) as temporary:
                quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
                temporary.write_bytes(cv2.imencode(".jpg", image[..., ::-1], quality)[1].tobytes())


def _check_folder(folder: Path, wanted: set[Path]) -> None:
    """Raise DataError where `folder` is no folder or holds visible files that are not about to be replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: expected a folder to write images into; name another")
    strangers = sorted(path for path in folder.rglob("[!.]*") if path.is_file() and path not in wanted)
    if strangers:
        raise DataError(
            f"{folder} already holds {strangers[0].relative_to(folder)}, which is not part of this set: "
            "expected a new or empty folder; name another or delete it"
        )
