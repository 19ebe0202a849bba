import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.config import TrainConfig, make_train_config
from siamese.errors import DataError, OptionError, PairFileError
from siamese.images.catalog import read_catalog
from siamese.pairing.formats import read_any, read_pairs, read_triplets, write_any, write_pairs, write_triplets
from siamese.pairing.quadruplets import sample_quadruplets
from siamese.pairing.sampling import sample_pairs, sample_triplets
from siamese.pairing.table import unique_images
from siamese.training.kept_pairs import (
    HELD_OUT_FILE,
    IMAGES_FILE,
    ROOT_FILE,
    TRAIN_FILE,
    VAL_FILE,
    RunPairs,
    kept_pairs,
)
from siamese.training.pairs import BatchKind, prepare_pairs

IDENTITIES, EACH = 10, 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten identities of four images, in folders whose names hold spaces and umlauts."""
    rng = np.random.default_rng(0)
    for identity in range(IDENTITIES):
        folder = tmp_path / "data" / f"Jörg {identity}"
        folder.mkdir(parents=True)
        for image in range(EACH):
            Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(folder / f"{image}.png")
    return tmp_path / "data"


def config(data: Path, **values: Any) -> TrainConfig:
    carved = {} if "val_pairs" in values else {"val_share": 0.3}
    return make_train_config({"data": data, **carved, **values})


def images_of(data: Path, *identities: int) -> pd.DataFrame:
    images = read_catalog(data).images
    return images[images["identity"].isin({f"Jörg {identity}" for identity in identities})].reset_index(drop=True)


def pair_file(data: Path, name: str, *identities: int, count: int = 20) -> Path:
    path = data.parent / name
    write_pairs(sample_pairs(images_of(data, *identities), num_pairs=count, seed=1), path)
    return path


def triplet_file(data: Path, name: str, *identities: int, count: int = 20) -> Path:
    path = data.parent / name
    write_triplets(sample_triplets(images_of(data, *identities), num_triplets=count, seed=1), path)
    return path


def shown(frame: pd.DataFrame | None) -> set[str]:
    """The identities that a table shows."""
    assert frame is not None
    return {path.split("/")[0] for path in unique_images(frame)}


def same_table(left: pd.DataFrame | None, right: pd.DataFrame | None) -> None:
    assert left is not None
    assert right is not None
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True))


def quadruplet_file(data: Path, name: str, *identities: int, count: int = 20) -> Path:
    path = data.parent / name
    write_any(sample_quadruplets(images_of(data, *identities), num_quadruplets=count, seed=1), path, "quadruplets")
    return path


def names(frame: pd.DataFrame | None) -> set[str]:
    assert frame is not None
    return set(frame["identity"])


def check_kept(run: RunPairs, configuration: TrainConfig, folder: Path) -> None:
    again = kept_pairs(folder)
    for name in ("train", "images", "val", "held_out"):
        found, expected = getattr(again, name), getattr(run, name)
        assert (found is None) is (expected is None)
        if expected is not None:
            same_table(found, expected)
    assert again.root == run.root


@pytest.mark.parametrize("triplets", [False, True])
def test_both_are_made_from_the_folder_with_disjoint_identities(data: Path, tmp_path: Path, triplets: bool) -> None:
    configuration = config(data)
    run = prepare_pairs(configuration, kind="triplets" if triplets else "pairs", folder=tmp_path / "run")
    assert ("anchor" in run.train.columns) is triplets
    assert shown(run.train).isdisjoint(shown(run.val))
    assert (len(shown(run.train)), len(shown(run.val))) == (7, 3)
    assert len(run.train) == 7 * EACH  # unless told otherwise, as many as there are images
    if not triplets:
        assert run.train["same"].sum() == 7 * EACH / 2
    assert set(run.val["same"]) == {True, False}
    assert run.root == data
    check_kept(run, configuration, tmp_path / "run")


def test_validation_has_two_identities_at_least(data: Path, tmp_path: Path) -> None:
    run = prepare_pairs(config(data, val_share=0.01), kind="pairs", folder=tmp_path / "run")
    assert (len(shown(run.train)), len(shown(run.val))) == (8, 2)


def test_validation_has_ten_impostor_pairs_to_a_genuine_one_where_there_are_so_many(tmp_path: Path) -> None:
    manifest = tmp_path / "many.csv"
    rows = [f"{who}/{image}.jpg,{who}" for who in range(100) for image in range(3)]
    manifest.write_text("\n".join(["path,identity", *rows]) + "\n", encoding="utf-8")
    run = prepare_pairs(config(manifest), kind="pairs", folder=tmp_path / "run")
    assert run.val["same"].value_counts().to_dict() == {True: 30 * 3, False: 10 * 30 * 3}


@pytest.mark.parametrize("triplets", [False, True])
def test_as_many_are_made_for_training_as_asked_for(data: Path, tmp_path: Path, triplets: bool) -> None:
    run = prepare_pairs(config(data, num_pairs=11), kind="triplets" if triplets else "pairs", folder=tmp_path / "run")
    assert len(run.train) == 11
    # How many there are for validation does not hang on it: every genuine and, of three people, every impostor pair.
    assert len(run.val) == 3 * EACH * (EACH - 1) // 2 + 3 * EACH * EACH


def test_the_seed_decides_what_is_made(data: Path, tmp_path: Path) -> None:
    one, again, other = (
        prepare_pairs(config(data, seed=seed), kind="pairs", folder=tmp_path / name)
        for seed, name in ((5, "a"), (5, "b"), (6, "c"))
    )
    same_table(one.train, again.train)
    same_table(one.val, again.val)
    assert not one.train.equals(other.train)
    assert (tmp_path / "a" / TRAIN_FILE).read_bytes() == (tmp_path / "b" / TRAIN_FILE).read_bytes()


@pytest.mark.parametrize("triplets", [False, True])
def test_given_validation_pairs_keep_their_identities_out_of_what_is_made(
    data: Path, tmp_path: Path, triplets: bool
) -> None:
    given = pair_file(data, "val.csv", 0, 1, 2)
    configuration = config(data, val_pairs=given)
    run = prepare_pairs(configuration, kind="triplets" if triplets else "pairs", folder=tmp_path / "run")
    same_table(run.val, read_pairs(given))
    assert shown(run.train) == {f"Jörg {identity}" for identity in range(3, 10)}
    check_kept(run, configuration, tmp_path / "run")


def test_given_pairs_lose_the_rows_that_show_a_validation_identity(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = pair_file(data, "train.csv", *range(10), count=60)
    configuration = config(data, pairs=given)
    with caplog.at_level(logging.INFO, logger="siamese"):
        run = prepare_pairs(configuration, kind="pairs", folder=tmp_path / "run")
    assert shown(run.train).isdisjoint(shown(run.val))
    assert len(shown(run.val)) == 3
    table = read_pairs(given)
    sides = [table[side].str.split("/").str[0].isin(shown(run.val)) for side in ("left", "right")]
    same_table(run.train, table[~(sides[0] | sides[1])])
    lost = 60 - len(run.train)
    assert 0 < lost < 60
    assert f"{lost} of 60 rows show an identity validated on or not chosen: left out" in caplog.messages
    check_kept(run, configuration, tmp_path / "run")


def test_validation_is_carved_out_of_the_people_of_the_given_pairs(data: Path, tmp_path: Path) -> None:
    given = pair_file(data, "train.csv", 0, 1, 2, 3, 4, count=40)
    run = prepare_pairs(config(data, pairs=given), kind="pairs", folder=tmp_path / "run")
    assert shown(run.train) | shown(run.val) <= {f"Jörg {identity}" for identity in range(5)}
    assert set(unique_images(run.val)) <= set(unique_images(read_pairs(given)))


@pytest.mark.parametrize("for_triplet_loss", [False, True])
def test_given_triplets_serve_either_kind_of_loss(data: Path, tmp_path: Path, for_triplet_loss: bool) -> None:
    given = triplet_file(data, "triplets.csv", *range(10), count=80)
    configuration = config(data, pairs=given)
    run = prepare_pairs(configuration, kind="triplets" if for_triplet_loss else "pairs", folder=tmp_path / "run")
    assert {"anchor", "positive", "negative"} <= set(run.train.columns)
    assert "same" in run.val.columns
    assert shown(run.train).isdisjoint(shown(run.val))
    assert 0 < len(run.train) < 80
    check_kept(run, configuration, tmp_path / "run")


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_both_given_are_taken_as_they_are(
    data: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, read = (pair_file, read_pairs) if kind == "pairs" else (triplet_file, read_triplets)
    train, val = make(data, "train.csv", 0, 1, 2, 3), pair_file(data, "val.csv", 7, 8)
    configuration = config(data, pairs=train, val_pairs=val)
    with caplog.at_level(logging.WARNING, logger="siamese"):
        run = prepare_pairs(configuration, kind=kind, folder=tmp_path / "run")
    same_table(run.train, read(train))
    same_table(run.val, read_pairs(val))
    assert not caplog.messages
    check_kept(run, configuration, tmp_path / "run")


def test_images_in_both_given_files_are_warned_of(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, val = pair_file(data, "train.csv", 0, 1), pair_file(data, "val.csv", 1, 2)
    with caplog.at_level(logging.WARNING, logger="siamese"):
        run = prepare_pairs(config(data, pairs=train, val_pairs=val), kind="pairs", folder=tmp_path / "run")
    shared = len(set(unique_images(run.train)) & set(unique_images(run.val)))
    assert shared > 0
    assert caplog.messages == [
        "problems in the pairs; `siamese audit --pairs` tells more:",
        "  split_overlap: 1",
        "    training, validation: identity 'Jörg 1' is in both",
    ]


def test_what_a_run_trains_on_is_said(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="siamese"):
        prepare_pairs(config(data, num_pairs=12), kind="triplets", folder=tmp_path / "run")
    expected = "training on 12 triplets, validating on 18 genuine and 48 impostor pairs"
    assert caplog.messages[-1] == expected


def test_only_the_listed_identities_are_used(data: Path, tmp_path: Path) -> None:
    listing = tmp_path / "people.txt"
    listing.write_text("".join(f"Jörg {identity}\t4\n" for identity in range(5)), encoding="utf-8")
    run = prepare_pairs(config(data, identities=listing), kind="pairs", folder=tmp_path / "run")
    assert shown(run.train) | shown(run.val) == {f"Jörg {identity}" for identity in range(5)}


def test_a_manifest_gives_paths_relative_to_its_own_folder(data: Path, tmp_path: Path) -> None:
    manifest = data / "manifest.csv"
    images_of(data, *range(6)).to_csv(manifest, index=False)
    configuration = config(manifest)
    run = prepare_pairs(configuration, kind="pairs", folder=tmp_path / "run")
    assert run.root == data
    assert len(shown(run.train) | shown(run.val)) == 6
    check_kept(run, configuration, tmp_path / "run")


def report(data: Path, *failed: str) -> None:
    """What `siamese align` writes: the images named here have no crop."""
    statuses = pd.DataFrame({"path": unique_images_of(data), "detail": ""})
    statuses["status"] = np.where(statuses["path"].isin(failed), "no_face", "ok")
    statuses.to_csv(data / "align.csv", index=False)
    for path in failed:
        (data / path).unlink()


def unique_images_of(data: Path) -> list[str]:
    return read_catalog(data).images["path"].tolist()


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_rows_whose_image_could_not_be_aligned_are_left_out_with_a_warning(
    data: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, read = (pair_file, read_pairs) if kind == "pairs" else (triplet_file, read_triplets)
    train, val = make(data, "train.csv", 0, 1, 2), pair_file(data, "val.csv", 7, 8, count=14)
    failed = {"Jörg 1/2.png", "Jörg 7/0.png"}
    report(data, *failed)
    with caplog.at_level(logging.WARNING, logger="siamese"):
        run = prepare_pairs(config(data, pairs=train, val_pairs=val), kind=kind, folder=tmp_path / "run")
    for given, found in ((read(train), run.train), (read_pairs(val), run.val)):
        named = given.isin(failed).any(axis=1)
        assert named.any()
        same_table(found, given[~named])
    lost = [len(read(train)) - len(run.train), len(read_pairs(val)) - len(run.val)]
    assert caplog.messages == [
        f"{path}: {count} rows name an image without a crop and are left out"
        for path, count in zip((train, val), lost, strict=True)
    ]


def test_a_file_of_which_alignment_leaves_no_row_is_refused(data: Path, tmp_path: Path) -> None:
    given = tmp_path / "train.csv"
    given.write_text("left,right,same\nJörg 0/0.png,Jörg 0/1.png,1\n", encoding="utf-8")
    report(data, "Jörg 0/0.png")
    message = f"{given}: no row is left; pair images that `siamese align` found a face in"
    with pytest.raises(PairFileError, match=f"^{re.escape(message)}$"):
        prepare_pairs(config(data, pairs=given), kind="pairs", folder=tmp_path / "run")


def test_an_image_that_is_missing_for_no_reason_is_an_error(data: Path, tmp_path: Path) -> None:
    given = pair_file(data, "val.csv", 0, 1)
    first = read_pairs(given)["left"].iloc[0]
    report(data)
    (data / first).unlink()
    message = f"{given} line 2: column left names {first!r}, which is no file below {data}; check the root folder"
    with pytest.raises(PairFileError, match=f"^{re.escape(message)}$"):
        prepare_pairs(config(data, val_pairs=given), kind="pairs", folder=tmp_path / "run")


def test_a_loss_on_triplets_cannot_learn_from_pairs(data: Path, tmp_path: Path) -> None:
    given = pair_file(data, "train.csv", 0, 1)
    message = (
        f"{given}: holds pairs, and --loss triplet learns from triplets; "
        "make them with `siamese make-pairs --kind triplets`"
    )
    with pytest.raises(PairFileError, match=f"^{re.escape(message)}$"):
        prepare_pairs(config(data, pairs=given, loss="triplet"), kind="triplets", folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["pairs", "val_pairs"])
def test_pairs_without_a_label_are_refused(data: Path, tmp_path: Path, option: str) -> None:
    given = tmp_path / "given.csv"
    given.write_text(
        "left,right,same\nJörg 0/0.png,Jörg 0/1.png,1\nJörg 0/0.png,Jörg 1/1.png,\nJörg 0/0.png,Jörg 2/1.png,\n",
        encoding="utf-8",
    )
    with pytest.raises(PairFileError, match=f"^{re.escape(f'{given}: 2 pairs have no label')} in column 'same'$"):
        prepare_pairs(config(data, **{option: given}), kind="pairs", folder=tmp_path / "run")


def test_triplets_cannot_validate(data: Path, tmp_path: Path) -> None:
    given = triplet_file(data, "val.csv", 0, 1)
    with pytest.raises(PairFileError, match=rf"^{re.escape(str(given))}: no column 'left'; columns found: 'anchor'"):
        prepare_pairs(config(data, val_pairs=given), kind="triplets", folder=tmp_path / "run")


def test_validation_pairs_that_show_everybody_leave_nothing_to_train_on(data: Path, tmp_path: Path) -> None:
    given = pair_file(data, "val.csv", *range(10), count=90)
    message = f"--val-pairs show all 10 identities of {data}; leave out at least two to train on, or give --pairs"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        prepare_pairs(config(data, val_pairs=given), kind="pairs", folder=tmp_path / "run")


def test_pairs_that_join_everybody_cannot_be_carved(data: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (data / name).write_bytes((data / "Jörg 0" / "0.png").read_bytes())
    given = tmp_path / "train.csv"
    given.write_text("left,right,same\na.png,b.png,1\n", encoding="utf-8")
    message = f"{given}: genuine pairs join all its 2 images; add impostor pairs of others"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        prepare_pairs(config(data, pairs=given), kind="pairs", folder=tmp_path / "run")


def test_pairs_of_which_the_carving_leaves_nothing_are_refused(data: Path, tmp_path: Path) -> None:
    # Impostor pairs of 0 with 1 and of 2 with 3: unless both people of a pair validate, no row is left.
    given = tmp_path / "train.csv"
    rows = [f"Jörg {who}/{image}.png,Jörg {who + 1}/{image}.png,0" for who in (0, 2) for image in (0, 1)]
    given.write_text("\n".join(["left,right,same", *rows]) + "\n", encoding="utf-8")
    refused = 0
    for seed in range(12):
        try:
            run = prepare_pairs(
                config(data, pairs=given, val_share=0.5, seed=seed), kind="pairs", folder=tmp_path / "run"
            )
        except DataError as error:
            refused += 1
            assert str(error) == "no row of 4 is left beside the validation identities; give --val-pairs"
        else:
            assert shown(run.train).isdisjoint(shown(run.val))
    assert 0 < refused < 12


def test_too_few_identities_for_a_validation_are_counted(data: Path, tmp_path: Path) -> None:
    listing = tmp_path / "people.txt"
    listing.write_text("Jörg 0\nJörg 1\nJörg 2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^3 identities cannot be split into 2 parts of at least 2$"):
        prepare_pairs(config(data, identities=listing), kind="pairs", folder=tmp_path / "run")


def test_resuming_without_the_kept_files_names_the_one_that_is_gone(data: Path, tmp_path: Path) -> None:
    for kind, name in (("pairs", VAL_FILE), ("pairs", ROOT_FILE), ("pairs", TRAIN_FILE), ("identities", IMAGES_FILE)):
        prepare_pairs(config(data), kind=kind, folder=tmp_path / "run")  # type: ignore[arg-type]
        (tmp_path / "run" / name).unlink()
        named = tmp_path / "run" / (TRAIN_FILE if name == IMAGES_FILE else name)
        message = f"{named}: no such file; start the run again without --resume"
        with pytest.raises(PairFileError, match=f"^{re.escape(message)}$"):
            kept_pairs(tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": "p.csv", "num_pairs": 5}, "--num-pairs: .* and --pairs gives them"),
        ({"pairs": "p.csv", "ratio": "1:2"}, "--ratio: is for pairs to be made"),
        ({"loss": "triplet", "ratio": "1:2"}, "--ratio: is for pairs to be made"),
        ({"val_pairs": "v.csv", "val_share": 0.2}, "--val-share: .* and --val-pairs gives"),
        ({"pairs": "p.csv", "val_pairs": "v.csv", "identities": "i.txt"}, "--identities: .* give them all"),
        ({"val_images": 1}, "--val-share: holds identities out, and --val-images images of each; leave one out"),
        ({"images_per_identity": 8}, "--images-per-identity: is for batches of identities, .* made of pairs here"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(data: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        prepare_pairs(config(data, **options), kind="triplets" if "loss" in options else "pairs", folder=data / "run")


def test_the_ratio_of_the_configuration_goes_before_that_of_the_encoder(data: Path, tmp_path: Path) -> None:
    for ratio, default, genuine in ((None, "1:3", 5), ("1:1", "1:3", 10)):
        run = prepare_pairs(config(data, ratio=ratio, num_pairs=20), kind="pairs", folder=tmp_path, ratio=default)
        assert int(run.train["same"].sum()) == genuine


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (triplet_file, "pairs"),
        (triplet_file, "triplets"),
        (quadruplet_file, "pairs"),
        (quadruplet_file, "triplets"),
        (quadruplet_file, "quadruplets"),
    ],
)
def test_larger_tuples_serve_losses_on_smaller_ones(data: Path, tmp_path: Path, made: Any, kind: BatchKind) -> None:
    train, val = made(data, "train.csv", 0, 1, 2, 3), pair_file(data, "val.csv", 7, 8)
    configuration = config(data, pairs=train, val_pairs=val)
    run = prepare_pairs(configuration, kind=kind, folder=tmp_path / "run")
    same_table(run.train, read_any(train)[1])
    assert run.images is None
    check_kept(run, configuration, tmp_path / "run")


@pytest.mark.parametrize(
    ("made", "held", "kind"),
    [
        (pair_file, "pairs", "triplets"),
        (pair_file, "pairs", "quadruplets"),
        (triplet_file, "triplets", "quadruplets"),
    ],
)
def test_smaller_tuples_do_not_serve_losses_on_larger_ones(
    data: Path, tmp_path: Path, made: Any, held: str, kind: BatchKind
) -> None:
    given = made(data, "train.csv", 0, 1, 2)
    message = (
        f"{given}: holds {held}, and --loss {kind[:-1]} learns from {kind}; "
        f"make them with `siamese make-pairs --kind {kind}`"
    )
    with pytest.raises(PairFileError, match=f"^{re.escape(message)}$"):
        prepare_pairs(config(data, pairs=given, loss=kind[:-1]), kind=kind, folder=tmp_path / "run")


def test_quadruplets_are_made_from_the_folder(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="siamese")
    configuration = config(data, num_pairs=15)
    run = prepare_pairs(configuration, kind="quadruplets", folder=tmp_path / "run")
    assert run.train is not None
    assert {"anchor", "positive", "negative", "negative2"} <= set(run.train.columns)
    assert len(run.train) == 15
    assert shown(run.train).isdisjoint(shown(run.val))
    assert caplog.messages[-1].startswith("training on 15 quadruplets, validating on 18 genuine and ")
    check_kept(run, configuration, tmp_path / "run")


def test_batches_of_identities_take_every_image_of_those_not_validated_on(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="siamese")
    configuration = config(data)
    run = prepare_pairs(configuration, kind="identities", folder=tmp_path / "run")
    assert (run.train, run.held_out) == (None, None)
    assert run.images is not None
    assert len(run.images) == 7 * EACH
    assert names(run.images).isdisjoint(shown(run.val))
    assert caplog.messages[-1].startswith("training on 28 images of 7 identities, validating on 18 genuine and ")
    check_kept(run, configuration, tmp_path / "run")
    assert sorted(run.image_paths()) == sorted({*run.images["path"], *unique_images(run.val)})


@pytest.mark.parametrize("made", [pair_file, triplet_file, quadruplet_file])
def test_given_tuples_name_the_identities_of_batches(data: Path, tmp_path: Path, made: Any) -> None:
    given = made(data, "train.csv", 0, 1, 2, 3, 4, count=60)
    run = prepare_pairs(config(data, pairs=given), kind="identities", folder=tmp_path / "run")
    assert run.train is None
    assert names(run.images) | shown(run.val) == {f"Jörg {identity}" for identity in range(5)}
    assert names(run.images).isdisjoint(shown(run.val))
    both = prepare_pairs(
        config(data, pairs=given, val_pairs=pair_file(data, "val.csv", 4, 5)),
        kind="identities",
        folder=tmp_path / "b",
    )
    assert names(both.images) == {f"Jörg {identity}" for identity in range(4)}


@pytest.mark.parametrize("kind", ["identities", "pairs", "triplets"])
def test_images_held_out_of_each_identity_are_seen_by_no_training(
    data: Path, tmp_path: Path, kind: BatchKind
) -> None:
    configuration = make_train_config({"data": data, "val_images": 2})
    run = prepare_pairs(configuration, kind=kind, folder=tmp_path / "run")
    assert run.held_out is not None
    assert run.held_out["identity"].value_counts().to_dict() == {f"Jörg {each}": 2 for each in range(IDENTITIES)}
    trained = set(run.images["path"]) if run.images is not None else set(unique_images(run.train))  # type: ignore[arg-type]
    assert trained.isdisjoint(run.held_out["path"])
    assert set(unique_images(run.val)) <= set(run.held_out["path"])
    check_kept(run, configuration, tmp_path / "run")


def test_held_out_images_leave_given_pairs_without_the_rows_that_show_them(data: Path, tmp_path: Path) -> None:
    given = pair_file(data, "train.csv", *range(10), count=100)
    run = prepare_pairs(
        make_train_config({"data": data, "pairs": given, "val_images": 2}), kind="pairs", folder=tmp_path
    )
    assert run.train is not None
    assert run.held_out is not None
    assert 0 < len(run.train) < 100
    assert set(unique_images(run.train)).isdisjoint(run.held_out["path"])


def test_given_validation_pairs_and_held_out_images_are_both_kept_from_training(data: Path, tmp_path: Path) -> None:
    val = pair_file(data, "val.csv", 0, 1, 2)
    configuration = make_train_config({"data": data, "val_pairs": val, "val_images": 2})
    run = prepare_pairs(configuration, kind="identities", folder=tmp_path / "run")
    same_table(run.val, read_pairs(val))
    assert names(run.images) == names(run.held_out) == {f"Jörg {identity}" for identity in range(3, 10)}


def test_a_run_leaves_no_file_of_an_earlier_one_of_another_kind(data: Path, tmp_path: Path) -> None:
    prepare_pairs(make_train_config({"data": data, "val_images": 2}), kind="identities", folder=tmp_path / "run")
    prepare_pairs(config(data), kind="pairs", folder=tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted([TRAIN_FILE, VAL_FILE, ROOT_FILE])
    prepare_pairs(make_train_config({"data": data, "val_images": 2}), kind="identities", folder=tmp_path / "run")
    expected = sorted([IMAGES_FILE, HELD_OUT_FILE, VAL_FILE, ROOT_FILE])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == expected


def test_identities_that_look_like_numbers_or_nothing_stay_text(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    rows = [f"{who}-{image}.jpg,{who}" for who in ("007", "NA", "1e3", "null", "x") for image in range(4)]
    manifest.write_text("\n".join(["path,identity", *rows]) + "\n", encoding="utf-8")
    for row in rows:
        (tmp_path / row.split(",")[0]).touch()
    configuration = make_train_config({"data": manifest, "val_images": 2})
    run = prepare_pairs(configuration, kind="identities", folder=tmp_path / "run")
    assert names(run.images) == {"007", "NA", "1e3", "null", "x"}
    check_kept(run, configuration, tmp_path / "run")


def test_one_held_out_image_of_each_makes_no_genuine_pair(data: Path, tmp_path: Path) -> None:
    message = (
        "--val-images 1: genuine validation pairs need two held-out images of an identity, and none has two; "
        "hold out more, or give --val-pairs"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        prepare_pairs(make_train_config({"data": data, "val_images": 1}), kind="identities", folder=tmp_path / "run")
    val = pair_file(data, "val.csv", 0, 1)
    configuration = make_train_config({"data": data, "val_images": 1, "val_pairs": val})
    assert prepare_pairs(configuration, kind="identities", folder=tmp_path / "run").held_out is not None
