"""Aligned crops of photographs: made by the toolkit's own alignment, or taken over from an earlier one."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from siamese.atomic import atomic_path
from siamese.errors import DataError
from siamese.images.alignment import AlignJob, align_folder, failed_alignments
from siamese.images.catalog import Catalog
from siamese.images.materialise import materialise
from siamese.progress import log, progress


def align_some(source: Path, target: Path, paths: Sequence[str], beside: Path) -> int:
    """Align some images below `source` into `target`, under the same names; what an earlier call finished is kept.

    Args:
        source: folder of photographs.
        target: folder for the crops.
        paths: which of them, `IDENTITY/name`, relative to `source`.
        beside: folder for links to them, removed when all is done.

    Returns:
        In how many images no face was found.

    Raises:
        DataError: an image is missing.
    """
    frame = pd.DataFrame({"path": list(paths)})
    catalog = Catalog(source, frame.assign(identity=frame["path"].str.partition("/")[0]))
    linked = materialise(catalog, beside, how="symlink")
    if linked.unreadable:
        path, reason = linked.unreadable[0]
        raise DataError(f"{source}: {len(linked.unreadable)} images are missing, {path} first ({reason})")
    report = align_folder(AlignJob(beside, target))
    shutil.rmtree(beside)
    return int((report["status"] != "ok").sum())


def take_over(source: Path, target: Path, paths: Sequence[str]) -> int:
    """Copy crops that `siamese align` wrote elsewhere; what is there in the same size is kept.

    Returns:
        How many have no crop because no face was found.

    Raises:
        DataError: a crop is missing although the report of the alignment does not say why.
    """
    failed = failed_alignments(source)
    wanted = [path for path in paths if path not in failed]
    missing = [path for path in wanted if not (source / path).is_file()]
    if missing:
        raise DataError(
            f"{source}: {len(missing)} of {len(paths)} crops are missing, {missing[0]} first; leave --lfw-crops out, "
            "and the photographs are aligned"
        )
    for path in progress(wanted, f"copying crops of {source.name}", unit="img"):
        _copy(source / path, target / path)
    return len(paths) - len(wanted)


def align_all(source: Path, target: Path) -> int:
    """Align every image below a folder; returns in how many no face was found."""
    report = align_folder(AlignJob(source, target))
    lost = int((report["status"] != "ok").sum())
    log.info("%s: %d of %d images have no crop", source, lost, len(report))
    return lost


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
