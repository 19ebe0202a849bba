"""What a run trains and validates on, and the files of the run folder that keep it for a resumption."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from siamese.atomic import atomic_path, write_text
from siamese.errors import PairFileError
from siamese.pairing.formats import write_any
from siamese.pairing.table import unique_images
from siamese.training.tuple_files import read_labelled_pairs, read_tuples, tuple_kind

TRAIN_FILE, VAL_FILE, ROOT_FILE = "train.csv", "val.csv", "root.txt"
TEACHER_VAL_FILE = "val_by_teacher.csv"
IMAGES_FILE, HELD_OUT_FILE = "images.csv", "held_out.csv"


@dataclass(frozen=True)
class RunPairs:
    """What a run trains and validates on.

    Attributes:
        root: the folder that paths are relative to.
        train: table of pairs, triplets or quadruplets; None where batches are made of identities.
        images: `path` and `identity` of each training image, the latter empty where it is not known; None where
            batches are made of tuples.
        val: pair table; its identities are not trained on when this module made it, unless `held_out` is there.
        held_out: `path` and `identity` of held-out images of the identities that are trained on; None without.
        by_teacher: whether `val` says what a teacher finds most alike, and not whom images show.
    """

    root: Path
    train: pd.DataFrame | None
    images: pd.DataFrame | None
    val: pd.DataFrame
    held_out: pd.DataFrame | None = None
    by_teacher: bool = False

    def image_paths(self) -> list[str]:
        """Every image of the run once."""
        lists = [] if self.train is None else [unique_images(self.train)]
        lists += [list(frame["path"]) for frame in (self.images, self.held_out) if frame is not None]
        return list(dict.fromkeys(path for paths in (*lists, unique_images(self.val)) for path in paths))


def keep_pairs(pairs: RunPairs, folder: Path) -> None:
    """Write what a run trains and validates on into its folder, in the place of what an earlier run kept there."""
    for name in (TRAIN_FILE, VAL_FILE, TEACHER_VAL_FILE, IMAGES_FILE, HELD_OUT_FILE):
        (folder / name).unlink(missing_ok=True)  # of an earlier run in this folder
    if pairs.train is not None:
        write_any(pairs.train, folder / TRAIN_FILE, tuple_kind(pairs.train))
    for name, frame in ((IMAGES_FILE, pairs.images), (HELD_OUT_FILE, pairs.held_out)):
        if frame is not None:
            with atomic_path(folder / name) as temporary:
                frame.to_csv(temporary, index=False, lineterminator="\n")
    write_any(pairs.val, folder / (TEACHER_VAL_FILE if pairs.by_teacher else VAL_FILE), "pairs")
    write_text(folder / ROOT_FILE, f"{pairs.root}\n")


def kept_pairs(folder: Path) -> RunPairs:
    """What an earlier run kept, for its resumption.

    Raises:
        PairFileError: it is gone.
    """
    by_teacher = (folder / TEACHER_VAL_FILE).is_file()
    val = TEACHER_VAL_FILE if by_teacher else VAL_FILE
    for name in (val, ROOT_FILE):
        if not (folder / name).is_file():
            raise PairFileError(f"{folder / name}: no such file; start the run again without --resume")
    root = Path((folder / ROOT_FILE).read_text(encoding="utf-8").removesuffix("\n"))
    train = read_tuples(folder / TRAIN_FILE, root) if (folder / TRAIN_FILE).is_file() else None
    images, held_out = (_kept_images(folder / name) for name in (IMAGES_FILE, HELD_OUT_FILE))
    if train is None and images is None:
        raise PairFileError(f"{folder / TRAIN_FILE}: no such file; start the run again without --resume")
    return RunPairs(root, train, images, read_labelled_pairs(folder / val, root), held_out, by_teacher)


def _kept_images(file: Path) -> pd.DataFrame | None:
    # Names such as `NA` are names, and numbers too.
    return pd.read_csv(file, dtype=str, keep_default_na=False) if file.is_file() else None
