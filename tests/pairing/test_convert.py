import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.errors import OptionError, PairFileError
from siamese.pairing.convert import convert_file
from siamese.pairing.formats import PAIR_FORMATS, read_pairs, read_quadruplets, read_triplets, write_pairs
from siamese.pairing.sampling import sample_pairs


def lfw_like(folds: int = 2, each: int = 3) -> pd.DataFrame:
    """Pairs that every form can hold."""
    rows = [(f"p{who}/p{who}_{image:04}.jpg", f"p{who}") for who in range(8) for image in range(1, 4)]
    images = pd.DataFrame(rows, columns=["path", "identity"])
    table = sample_pairs(images, num_pairs=2 * folds * each, seed=0)
    table = table.sort_values("same", ascending=False, kind="stable", ignore_index=True)
    order = np.concatenate(
        [np.arange(each) + each * fold + half * folds * each for fold in range(folds) for half in (0, 1)]
    )
    table = table.iloc[order].reset_index(drop=True)
    table.insert(3, "fold", np.repeat(np.arange(folds), 2 * each))
    return table


def rows(table: pd.DataFrame) -> list[tuple[str, str, bool]]:
    return list(zip(table["left"], table["right"], table["same"], strict=True))


# The forms of LFW say more than a line holds, and name images by folder, which CALFW does not.
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (source, target)
        for source in ("csv", "tsv", "parquet", "lfw", "rfw")
        for target in PAIR_FORMATS
        if source not in ("lfw", "rfw") or target not in ("lines", "calfw")
    ],
)
def test_any_form_becomes_any_other(tmp_path: Path, source: str, target: str) -> None:
    table = lfw_like()
    if target == "lines":  # has no place for what is beside the label
        table = table[["left", "right", "same"]]
    if target == "calfw":
        table = table.drop(columns=["left_identity", "right_identity"])
        table = table.assign(left=table["left"].str.split("/").str[1], right=table["right"].str.split("/").str[1])
        table = table.drop(columns="fold")
    given, made = tmp_path / "given", tmp_path / "made"
    write_pairs(table, given, source)
    result = convert_file(given, made, format=target)
    assert (result["kind"], result["pairs"], result["genuine"]) == ("pairs", 12, 6)
    assert rows(read_pairs(made)) == rows(read_pairs(given))


def packed(folder: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    table = pd.DataFrame({"left": ["0.png", "1.png"], "right": ["2.png", "3.png"], "same": [True, False]})
    write_pairs(table.astype({"same": "boolean"}), folder / "pairs.csv")
    return table


def test_images_are_packed_and_unpacked_byte_for_byte(tmp_path: Path) -> None:
    table = packed(tmp_path / "images")
    convert_file(tmp_path / "images" / "pairs.csv", tmp_path / "some.bin")
    result = convert_file(tmp_path / "some.bin", tmp_path / "out" / "pairs.csv")
    assert result == {"kind": "pairs", "pairs": 2, "genuine": 1, "impostor": 1, "identities": None}
    again = read_pairs(tmp_path / "out" / "pairs.csv")
    for side in ("left", "right"):
        for before, after in zip(table[side], again[side], strict=True):
            assert after.startswith("some/")
            assert (tmp_path / "out" / after).read_bytes() == (tmp_path / "images" / before).read_bytes()
    assert again["same"].tolist() == [True, False]


def test_labels_may_be_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "signatures.txt").write_text("a.png b.png 0\na.png c.png 1\n", encoding="utf-8")
    convert_file(tmp_path / "signatures.txt", tmp_path / "pairs.csv", same_label="0")
    assert rows(read_pairs(tmp_path / "pairs.csv")) == [("a.png", "b.png", True), ("a.png", "c.png", False)]


def test_triplets_and_quadruplets_keep_their_kind(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a.png b.png c.png\n", encoding="utf-8")
    (tmp_path / "q.txt").write_text("a.png b.png c.png d.png\n", encoding="utf-8")
    assert convert_file(tmp_path / "t.txt", tmp_path / "t.csv") == {"kind": "triplets", "triplets": 1}
    assert convert_file(tmp_path / "q.txt", tmp_path / "q.parquet") == {"kind": "quadruplets", "quadruplets": 1}
    assert read_triplets(tmp_path / "t.csv").loc[0, "negative"] == "c.png"
    assert read_quadruplets(tmp_path / "q.parquet").loc[0, "negative2"] == "d.png"


def test_what_a_form_has_no_place_for_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pairs(lfw_like(), tmp_path / "pairs.csv")
    convert_file(tmp_path / "pairs.csv", tmp_path / "lines.txt", format="lines")
    assert rows(read_pairs(tmp_path / "lines.txt")) == rows(lfw_like())
    lost = "its form has no place for fold, left_identity, right_identity, left out"
    assert caplog.messages == [f"{tmp_path / 'lines.txt'}: {lost}"]


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    packed(tmp_path / "images")
    (tmp_path / "t.txt").write_text("a.png b.png c.png\n", encoding="utf-8")
    convert_file(tmp_path / "images" / "pairs.csv", tmp_path / "some.bin")
    for source, target, options, message in (
        ("some.bin", "a.csv", {"same_label": "0"}, "holds truth values, its form tells; leave it out"),
        ("t.txt", "a.csv", {"same_label": "0"}, "holds triplets, which have no labels; leave it out"),
        ("t.txt", "a.bin", {}, "packs pairs, and .* holds triplets; choose csv, tsv or parquet"),
        ("t.txt", "a.csv", {"format": "lfw"}, "lfw"),
    ):
        with pytest.raises((OptionError, PairFileError), match=message):
            convert_file(tmp_path / source, tmp_path / target, **options)
    with pytest.raises(PairFileError, match=f"^{re.escape(str(tmp_path / 'none.csv'))}: no such file"):
        convert_file(tmp_path / "none.csv", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
