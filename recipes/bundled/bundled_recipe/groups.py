"""Held-out images whose file names tell a group: age, gender and origin, as UTKFace's annotators saw them.

Names are `AGE_GENDER_ORIGIN_DATE`: Zhang, Song, Qi, "Age progression/regression by conditional adversarial
autoencoder", CVPR 2017.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from siamese.pairing.distinct import water_fill

NUMBER = 2000
# Of a group's images, at most this share is held out: the rare ones are needed in training most.
MOST_OF_A_GROUP = 0.25
GENDERS = {"0": "male", "1": "female"}
ORIGINS = {"0": "White", "1": "Black", "2": "Asian", "3": "Indian", "4": "other"}
AGE_EDGES = (0, 4, 13, 20, 36, 51, 66, 200)
AGES = ("0-3", "4-12", "13-19", "20-35", "36-50", "51-65", "66+")
COLUMNS = ("gender", "origin", "age")


def read_groups(paths: Sequence[str]) -> pd.DataFrame:
    """The groups of images by their names: `path`, `gender`, `origin`, `age` (a band); unmarked ones are left out."""
    frame = pd.DataFrame({"path": list(paths)})
    marks = frame["path"].str.extract(r"([0-9]{1,3})_([01])_([0-4])_[0-9]+\.[a-z]+$")
    ages = pd.cut(marks[0].astype(float), AGE_EDGES, right=False, labels=AGES)
    found = frame.assign(gender=marks[1].map(GENDERS), origin=marks[2].map(ORIGINS), age=ages.astype("string"))
    return found.dropna().reset_index(drop=True)


def choose_groups(paths: Sequence[str], seed: int, number: int = NUMBER) -> pd.DataFrame:
    """Hold out up to `number` images, spread over the groups as evenly as a quarter of each allows.

    Args:
        paths: of unlabelled images.
        seed: 0 or more; the same seed gives the same images.
        number: how many.

    Returns:
        Columns `path`, `gender`, `origin`, `age`, sorted by path.
    """
    found = read_groups(paths)
    rng = np.random.default_rng(seed)
    cells = pd.Series(pd.factorize(found[list(COLUMNS)].agg("/".join, axis=1))[0])
    sizes = np.bincount(cells)
    most = np.floor(sizes * MOST_OF_A_GROUP).astype(np.int64)
    wanted = water_fill(rng, most, min(number, int(most.sum())))
    order = rng.permutation(len(found))
    place = pd.Series(order).groupby(cells.to_numpy()[order]).cumcount().to_numpy()
    chosen = order[place < wanted[cells.to_numpy()[order]]]
    return found.iloc[np.sort(chosen)].sort_values("path", ignore_index=True)
