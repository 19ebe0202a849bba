import re

import pandas as pd
import pytest

from siamese.errors import DataError
from siamese.training.held_out import hold_out_images


def images(**counts: int) -> pd.DataFrame:
    rows = [(f"{name}/{number}.jpg", name) for number in range(max(counts.values())) for name in counts]
    return pd.DataFrame(
        [row for row in rows if int(row[0].split("/")[1][:-4]) < counts[row[1]]], columns=["path", "identity"]
    )


@pytest.mark.parametrize(
    ("count", "held"),
    [
        (1, {"b": 0, "c": 1, "d": 1, "e": 1}),
        (2, {"b": 0, "c": 1, "d": 2, "e": 2}),
        (9, {"b": 0, "c": 1, "d": 2, "e": 6}),
    ],
)
def test_so_many_of_each_are_held_out_but_two_stay_to_train_on(count: int, held: dict[str, int]) -> None:
    table = images(a=1, b=2, c=3, d=4, e=8)
    train, held_out = hold_out_images(table, count, seed=0)
    counts = held_out["identity"].value_counts().to_dict()
    assert {name: counts.get(name, 0) for name in held} == held
    assert train["identity"].value_counts()["a"] == 1
    assert (train["identity"].value_counts()[["c", "d", "e"]] >= 2).all()


def test_both_parts_together_are_all_images_in_their_order() -> None:
    table = images(a=5, b=4, c=3)
    train, held_out = hold_out_images(table, 2, seed=1)
    both = pd.concat([train, held_out])
    assert sorted(both["path"]) == sorted(table["path"])
    assert not set(train["path"]) & set(held_out["path"])
    for part in (train, held_out):
        places = [table["path"].tolist().index(path) for path in part["path"]]
        assert places == sorted(places)
        assert part.index.tolist() == list(range(len(part)))


def test_the_seed_decides_which_and_every_image_may_be_chosen() -> None:
    table = images(a=4, b=4)
    chosen = [frozenset(hold_out_images(table, 1, seed)[1]["path"]) for seed in range(60)]
    assert chosen[7] == frozenset(hold_out_images(table, 1, 7)[1]["path"])
    assert set().union(*chosen) == set(table["path"])


def test_identities_with_nothing_to_spare_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="siamese")
    hold_out_images(images(a=1, b=2, c=3, d=3), 1, seed=0)
    assert caplog.messages == ["2 identities have too few images to hold any out"]


@pytest.mark.parametrize(("counts", "found"), [({"a": 2, "b": 2}, 0), ({"a": 9, "b": 2}, 1)])
def test_too_few_identities_with_images_to_spare_are_refused(counts: dict[str, int], found: int) -> None:
    message = (
        f"--val-images 3: {found} identities have three images or more; expected two such at least; use --val-share"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        hold_out_images(images(**counts), 3, seed=0)
