import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.config import TrainConfig, make_train_config
from siamese.errors import DataError
from siamese.pairing.formats import read_pairs
from siamese.pairing.table import unique_images
from siamese.training.identities import identities_of
from siamese.training.kept_pairs import kept_pairs
from siamese.training.pairs import prepare_pairs


def images(folder: Path, *names: str) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(folder / name)
    return folder


def flat(folder: Path, identities: int, each: int = 3) -> tuple[Path, Path]:
    """Images in one folder, known by pairs alone: a chain of genuine pairs in each identity, impostors between."""
    names = [[f"{who * each + image:04}.png" for image in range(each)] for who in range(identities)]
    images(folder / "all", *(name for group in names for name in group))
    rows = [f"{group[i]},{group[i + 1]},1" for group in names for i in range(each - 1)]
    rows += [f"{names[who][0]},{names[(who + 1) % identities][1]},0" for who in range(identities)]
    pairs = folder / "all" / "pairs.csv"
    pairs.write_text("\n".join(["left,right,same", *rows]) + "\n", encoding="utf-8")
    return folder / "all", pairs


def config(data: Path, **values: object) -> TrainConfig:
    return make_train_config({"data": data, **values})


def grouped(table: pd.DataFrame) -> set[frozenset[str]]:
    return {frozenset(group) for _, group in table.groupby("identity")["path"]}


def test_pairs_alone_are_closed_into_identities(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, pairs = flat(tmp_path, 6)
    with caplog.at_level(logging.INFO, logger="siamese"):
        catalog = identities_of(read_pairs(pairs), root, "pairs.csv", root, 1)
    expected = {frozenset(f"{who * 3 + image:04}.png" for image in range(3)) for who in range(6)}
    assert grouped(catalog.images) == expected
    assert "pairs.csv: genuine pairs join 18 images into 6 identities" in caplog.messages


@pytest.mark.parametrize("as_data", [False, True])
def test_a_pair_file_alone_is_enough_to_train(tmp_path: Path, as_data: bool) -> None:
    root, pairs = flat(tmp_path, 20)
    configuration = config(pairs) if as_data else config(root, pairs=pairs)
    run = prepare_pairs(configuration, kind="pairs", folder=tmp_path / "run")
    assert run.root == root
    assert set(unique_images(run.train)).isdisjoint(unique_images(run.val))
    who = {f"{number:04}.png": number // 3 for number in range(60)}
    for table in (run.train, run.val):
        same = table["left"].map(who) == table["right"].map(who)
        assert (same == table["same"]).all()
    # Two identities are held out: three genuine pairs of each, one more than the file has of it.
    assert run.val["same"].sum() == 6
    again = kept_pairs(tmp_path / "run")
    assert (again.root, len(again.train), len(again.val)) == (root, len(run.train), len(run.val))


def test_a_contradiction_is_reported_with_its_chain(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, pairs = flat(tmp_path, 3)
    with pairs.open("a", encoding="utf-8") as file:
        file.write("0000.png,0002.png,0\n")
    with caplog.at_level(logging.WARNING, logger="siamese"):
        identities_of(read_pairs(pairs), root, "pairs.csv", root, 1)
    chain = "0000.png = 0001.png = 0002.png by lines 2 and 3, but line 11 says 0000.png and 0002.png are different"
    assert "pairs.csv: 1 impostor pairs contradict the genuine ones:" in caplog.messages
    assert f"  {chain}" in caplog.messages


def test_folders_that_the_labels_agree_with_are_the_identities(tmp_path: Path) -> None:
    root = images(tmp_path / "data", *(f"{who}/{image}.png" for who in "abcd" for image in range(3)))
    pairs = tmp_path / "pairs.csv"
    # No genuine pair joins a/2 with the rest: the folder knows better than the pairs.
    pairs.write_text("left,right,same\na/0.png,a/1.png,1\na/2.png,b/0.png,0\n", encoding="utf-8")
    catalog = identities_of(read_pairs(pairs), root, "pairs.csv", root, 1)
    assert grouped(catalog.images) == {frozenset({"a/0.png", "a/1.png", "a/2.png"}), frozenset({"b/0.png"})}


def test_folders_that_the_labels_contradict_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = images(tmp_path / "data", *(f"session{session}/{who}.png" for session in range(2) for who in "abc"))
    pairs = tmp_path / "pairs.csv"
    rows = [f"session0/{who}.png,session1/{who}.png,1" for who in "abc"]
    pairs.write_text("\n".join(["left,right,same", *rows, "session0/a.png,session0/b.png,0"]), encoding="utf-8")
    with caplog.at_level(logging.INFO, logger="siamese"):
        catalog = identities_of(read_pairs(pairs), root, "pairs.csv", root, 1)
    assert grouped(catalog.images) == {frozenset({f"session0/{who}.png", f"session1/{who}.png"}) for who in "abc"}
    reason = "pairs.csv: identities are not taken from folders: line 2 is genuine against them, and 3 others"
    assert reason in caplog.messages


def test_identity_columns_go_before_folders(tmp_path: Path) -> None:
    root = images(tmp_path / "data", *(f"x/{number}.png" for number in range(4)))
    pairs = tmp_path / "pairs.csv"
    header = "left,right,same,left_identity,right_identity"
    pairs.write_text(f"{header}\nx/0.png,x/1.png,1,p,p\nx/2.png,x/3.png,0,p,q\n", encoding="utf-8")
    catalog = identities_of(read_pairs(pairs), root, "pairs.csv", root, 1)
    assert dict(zip(catalog.images["path"], catalog.images["identity"], strict=True)) == {
        "x/0.png": "p",
        "x/1.png": "p",
        "x/2.png": "p",
        "x/3.png": "q",
    }


def test_pairs_of_one_identity_cannot_be_divided(tmp_path: Path) -> None:
    root = images(tmp_path / "data", "0.png", "1.png", "2.png")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("left,right,same\n0.png,1.png,1\n1.png,2.png,1\n", encoding="utf-8")
    message = "p: genuine pairs join all its 3 images; add impostor pairs of others"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        identities_of(read_pairs(pairs), root, "p", root, 1)


def split_folders(tmp_path: Path, shared: int) -> Path:
    """Ten people to train on, four to validate on of whom some are trained on too, four to test on."""
    people = {"train": range(10), "val": range(10 - shared, 14 - shared), "test": range(20, 24)}
    names = (
        f"{split}/p{who}/{split}{image}.png" for split, who_all in people.items() for who in who_all for image in "01"
    )
    return images(tmp_path / "data", *names)


def test_the_validation_people_of_a_layout_validate(tmp_path: Path) -> None:
    root = split_folders(tmp_path, shared=0)
    run = prepare_pairs(config(root), kind="pairs", folder=tmp_path / "run")
    assert {path.split("/")[0] for path in unique_images(run.train)} == {"train"}
    assert {path.split("/")[1] for path in unique_images(run.val)} == {"p10", "p11", "p12", "p13"}


def test_validation_people_that_are_trained_on_do_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = split_folders(tmp_path, shared=3)
    with caplog.at_level(logging.WARNING, logger="siamese"):
        run = prepare_pairs(config(root, val_share=0.3), kind="pairs", folder=tmp_path / "run")
    people = [{path.split("/")[1] for path in unique_images(table)} for table in (run.train, run.val)]
    assert people[0].isdisjoint(people[1])
    assert not any(path.startswith("test/") for table in (run.train, run.val) for path in unique_images(table))
    assert any(message.startswith("3 of 4 identities of the validation split") for message in caplog.messages)
