import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bundled_recipe import prepare as prepare_module
from bundled_recipe.groups import MOST_OF_A_GROUP, choose_groups, read_groups
from bundled_recipe.people import NAMED_SETS, choose_held_out, listed_people, person_key, read_crops, shared_names
from bundled_recipe.prepare import check_disjoint, divide, is_prepared, needed_of_lfw, prepare
from bundled_recipe.records import read_csv
from bundled_recipe.train import how_to_begin, robust_command, run_command, train_command
from bundled_recipe.workplace import CONFIG, PROJECT, ROBUST_CONFIG, Workplace

from siamese.errors import DataError
from siamese.pairing.formats import read_pairs
from siamese.pairing.table import unique_images

RUN = PROJECT / "recipes" / "bundled" / "run.py"


@pytest.fixture
def place(fake_data: Path, tmp_path: Path) -> Workplace:
    return Workplace(fake_data, tmp_path / "weights", tmp_path / "work")


def results(place: Workplace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place.training_images, place.val_pairs, place.groups)}


@pytest.mark.parametrize(
    ("one", "other"),
    [("Robert_De_Niro", "robert de niro"), ("Penélope_Cruz", "Penelope Cruz"), ("Ng_Man-Tat", "Ng_Man_Tat")],
)
def test_two_spellings_of_a_name_are_one_person(one: str, other: str) -> None:
    assert person_key(one) == person_key(other)
    assert person_key(one) != person_key(one + "s")


def test_a_list_of_people_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("3\nA\t1\nB\t2\n")
    with pytest.raises(DataError, match=r"people.txt: 2 names, but its first line announces '3'; copy it again"):
        listed_people(tmp_path / "people.txt")


def test_nobody_is_on_two_sides(prepared: Workplace) -> None:
    training = read_csv(prepared.training_images)
    val = read_pairs(prepared.val_pairs)
    groups = read_csv(prepared.groups)
    test = {person_key(name) for name in listed_people(prepared.protocol("peopleDevTest.txt"))}
    trained = {person_key(name) for name in training["identity"]} - {""}
    validated = {person_key(name) for side in ("left_identity", "right_identity") for name in val[side]}
    assert trained and validated and len(groups)
    assert not trained & test
    assert not validated & test
    assert not trained & validated
    assert not {*training["path"]} & {*unique_images(val), *groups["path"]}
    assert not training["path"].str.startswith("images/lfw/Test").any()


def test_every_image_is_trained_on_or_held_out(prepared: Workplace) -> None:
    people = listed_people(prepared.protocol("peopleDevTrain.txt"))
    crops = read_crops(prepared.images, prepared.images / "faces-train", prepared.images / "lfw", people)
    training, groups = read_csv(prepared.training_images), read_csv(prepared.groups)
    held_out = {person_key(name) for part in choose_held_out(crops.named).values() for name in part["identity"]}
    named = crops.named["identity"].map(person_key).isin(held_out)
    assert {*training["path"]} | {*groups["path"]} | {*crops.named["path"][named]} == {
        *crops.named["path"],
        *crops.unnamed,
    }
    assert (training["identity"] == "").sum() == len(crops.unnamed) - len(groups)
    assert all((prepared.work / path).is_file() for path in training["path"])


def test_a_person_of_two_sets_has_one_identity_and_is_named_in_the_log(
    prepared: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    record = json.loads(prepared.prepared.read_text())
    assert record["shared_names"] == {"train01": ["lfw/Train_01", "pins/Train_01"]}
    prepared.prepared.unlink()
    with caplog.at_level("INFO", logger="siamese"):
        prepare(prepared, prepared.data / "lfw")
    assert "in several sets, taken for one person: lfw/Train_01, pins/Train_01" in caplog.messages


def test_validation_has_ten_impostors_to_a_genuine_pair_and_a_fifth_of_pins(prepared: Workplace) -> None:
    val = read_pairs(prepared.val_pairs)
    genuine = val[val["same"]]
    assert (~val["same"]).sum() == 10 * len(genuine)
    pins = genuine["left_identity"].str.startswith("Pin_")
    assert pins.sum() == pytest.approx(0.2 * len(genuine), abs=1)
    mixed = val["left_identity"].str.startswith("Pin_") != val["right_identity"].str.startswith("Pin_")
    assert not mixed.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identity": "Test_03"}, "1 people are trained on and in DevTest, 'test03' first; the split must keep them"),
        ({"identity": "Pin_Held"}, "1 people are trained on and validated on, 'pinheld' first; the split must keep"),
    ],
)
def test_somebody_on_two_sides_is_an_error(prepared: Workplace, change: dict[str, str], message: str) -> None:
    people = listed_people(prepared.protocol("peopleDevTrain.txt"))
    split = divide(read_crops(prepared.images, prepared.images / "faces-train", prepared.images / "lfw", people))
    check_disjoint(split, [*LFW_TEST_NAMES])
    training = pd.concat([split.training, pd.DataFrame({"path": ["images/x.jpg"], **change})])
    val = split.val.replace({"left_identity": {split.val["left_identity"].iloc[0]: "Pin_Held"}})
    with pytest.raises(DataError, match=message):
        check_disjoint(replace(split, training=training, val=val), [*LFW_TEST_NAMES])


LFW_TEST_NAMES = [f"Test_{number:02d}" for number in range(16)]


def test_an_image_that_is_trained_on_and_held_out_is_an_error(prepared: Workplace) -> None:
    people = listed_people(prepared.protocol("peopleDevTrain.txt"))
    split = divide(read_crops(prepared.images, prepared.images / "faces-train", prepared.images / "lfw", people))
    twice = split.groups["path"].iloc[0]
    training = pd.concat([split.training, pd.DataFrame({"path": [twice], "identity": [""]})])
    with pytest.raises(DataError, match=f"1 images are trained on and held out, {twice} first"):
        check_disjoint(replace(split, training=training), LFW_TEST_NAMES)


def test_names_are_compared_across_sets() -> None:
    named = pd.DataFrame(
        {"identity": ["A_B", "A_B", "a b", "C"], "set": ["lfw", "lfw", "pins", "glint"], "path": list("1234")}
    )
    assert shared_names(named) == {"ab": ["lfw/A_B", "pins/a b"]}


def test_groups_are_read_from_names_and_unmarked_images_are_left_out() -> None:
    found = read_groups(["u/3_0_1_201701.webp", "u/66_1_4_201701.webp", "u/39_1_2017.webp", "u/116_0_0_20170.webp"])
    assert found.to_numpy().tolist() == [
        ["u/3_0_1_201701.webp", "male", "Black", "0-3"],
        ["u/66_1_4_201701.webp", "female", "other", "66+"],
        ["u/116_0_0_20170.webp", "male", "White", "66+"],
    ]


def test_groups_are_even_and_no_group_gives_more_than_a_quarter() -> None:
    sizes = {"30_0_0": 400, "30_1_0": 400, "30_0_1": 40, "70_1_2": 3}
    paths = [f"u/{mark}_{number:08d}.webp" for mark, size in sizes.items() for number in range(size)]
    chosen = choose_groups(paths, 5, number=50)
    counts = chosen.groupby(["gender", "origin"]).size()
    assert len(chosen) == 50 and not chosen["path"].duplicated().any()
    assert counts["male", "Black"] == 40 * MOST_OF_A_GROUP
    assert counts["male", "White"] == counts["female", "White"] == 20
    assert ("female", "Asian") not in counts.index  # a quarter of three is none
    pd.testing.assert_frame_equal(chosen, choose_groups(paths, 5, number=50))
    assert set(chosen["path"]) != set(choose_groups(paths, 6, number=50)["path"])


def test_a_finished_preparation_is_passed_over_and_a_changed_one_made_again(place: Workplace) -> None:
    prepare(place, place.data / "lfw")
    made = results(place)
    before = place.training_images.stat().st_mtime_ns
    prepare(place, place.data / "lfw")
    assert place.training_images.stat().st_mtime_ns == before
    place.training_images.write_text("path,identity\n")
    assert not is_prepared(place)
    prepare(place, place.data / "lfw")
    assert results(place) == made


def test_a_preparation_that_was_interrupted_goes_on(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare_module, "align_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(place, place.data / "lfw")
    unpacked = next((place.images / "faces-train").rglob("*.webp"))
    inode = unpacked.stat().st_ino
    assert not is_prepared(place)
    prepare(place, place.data / "lfw")
    assert is_prepared(place)
    assert unpacked.stat().st_ino == inode


def test_a_killed_preparation_goes_on_to_the_same_result(prepared: Workplace, tmp_path: Path) -> None:
    work = tmp_path / "work"
    command = [
        *(sys.executable, str(RUN), "--data", str(prepared.data), "--weights", str(tmp_path), "--work", str(work)),
        *("--step", "prepare", "--lfw-crops", str(prepared.data / "lfw"), "--quiet"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "cli")])}
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None and not list(work.rglob("*.webp")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (work / "prepared.json").exists()
    subprocess.run(command, env=environment, check=True)
    assert results(Workplace(prepared.data, tmp_path, work)) == results(prepared)
    assert not list(work.rglob(".*.webp")) or is_prepared(Workplace(prepared.data, tmp_path, work))


def test_missing_data_is_named(place: Workplace) -> None:
    elsewhere = replace(place, data=place.work)
    with pytest.raises(DataError) as caught:
        prepare(elsewhere)
    assert str(caught.value) == (
        f"{place.work / 'lfw-protocol' / 'peopleDevTrain.txt'}: no such file or folder, expected an official file of "
        "LFW; --data names the folder that holds it"
    )


def test_missing_crops_are_named(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    message = r"crops: 282 of 282 crops are missing, Test_00/Test_00_0001.jpg first; leave --lfw-crops out, and the"
    with pytest.raises(DataError, match=message):
        prepare(place, tmp_path / "crops")


def test_the_seed_is_of_training_alone(place: Workplace) -> None:
    other = replace(place, seed=3)
    assert (other.model.name, other.figures.name, other.trained.name) == (
        *("model-seed3", "figures-seed3.json", "train-seed3.json"),
    )
    assert (place.model.name, place.figures.name) == ("model", "figures.json")
    assert other.val_pairs == place.val_pairs


def test_how_a_run_begins_follows_from_what_is_there(tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert how_to_begin(model) == []
    (model / "run").mkdir(parents=True)
    assert how_to_begin(model) == []  # killed before its first checkpoint
    (model / "run" / "last.ckpt").touch()
    assert how_to_begin(model) == ["--resume"]
    (model / "model.json").touch()
    assert how_to_begin(model) == ["--resume"]  # stopped by hand: the best so far was saved
    (model / "run" / "last.ckpt").unlink()
    assert how_to_begin(model) == ["--force"]  # finished, and not what was recorded
    (model / "run" / "best-0000.safetensors").touch()
    assert how_to_begin(model) == ["--resume"]


def test_training_without_preparation_says_so(place: Workplace) -> None:
    from bundled_recipe.train import train

    with pytest.raises(DataError, match=r"work: nothing is prepared there, or it was changed since; run --step prep"):
        train(place)


def test_a_command_gives_back_its_json_and_its_failure_is_told() -> None:
    def python(code: str) -> list[str]:
        return [sys.executable, "-c", code, "train"]

    assert run_command(python('print("{\\"stopped\\": false}")')) == {"stopped": False}
    with pytest.raises(DataError, match="`siamese train` ended with code 2; mend that, and run this again"):
        run_command(python("raise SystemExit(2)"))
    with pytest.raises(KeyboardInterrupt):
        run_command(python("raise SystemExit(130)"))


def test_ctrl_c_leaves_the_child_time_to_end_in_order() -> None:
    child = (
        "import signal, sys, time, os\n"
        "def stop(*_):\n    time.sleep(1)\n    print('{\"stopped\": true}')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "os.kill(os.getppid(), signal.SIGINT)\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"
    )
    assert run_command([sys.executable, "-c", child, "train"]) == {"stopped": True}


def test_false_accepts_have_the_interval_that_the_toolkit_gives() -> None:
    from bundled_recipe.slices import false_accepts

    from siamese.evaluation.intervals import estimates

    rng = np.random.default_rng(0)
    first, second = np.triu_indices(80, 1)
    hub = rng.random(80)
    accepted = rng.random(len(first)) < 0.2 * hub[first] * hub[second]
    # The same impostor pairs with a genuine one for each person, which no FAR depends on.
    same = np.concatenate([np.zeros(len(first), bool), np.ones(80, bool)])
    left, right = (np.concatenate([side, np.arange(80)]) for side in (first, second))
    decisions = np.concatenate([accepted, np.ones(80, bool)])
    expected = estimates(decisions.astype(float), same, left, right, ["far"], accepted=decisions)["far"]
    found = false_accepts(accepted, first, second)
    assert expected.interval is not None
    assert found["value"] == pytest.approx(expected.value)
    assert found["interval"] == pytest.approx([expected.interval.low, expected.interval.high])


def test_false_accepts_of_none_and_of_few_images() -> None:
    from bundled_recipe.slices import false_accepts

    first, second = np.triu_indices(60, 1)
    none = false_accepts(np.zeros(len(first), bool), first, second)
    assert none == {"value": 0.0, "interval": [0.0, pytest.approx(1 - 0.025 ** (1 / 60))]}
    few = false_accepts(np.array([True, False, False]), np.array([0, 0, 1]), np.array([1, 2, 2]))
    assert few == {"value": pytest.approx(1 / 3), "interval": None, "reason": "3 images, an interval needs 60"}


@pytest.mark.parametrize(("command", "config"), [(train_command, CONFIG), (robust_command, ROBUST_CONFIG)])
def test_the_training_commands_are_ones_that_the_program_understands(
    prepared: Workplace, command: Callable[[Workplace, Sequence[str]], list[str]], config: Path
) -> None:
    from siamese.config import make_train_config
    from siamese.config_file import read_config_file

    given = command(prepared, ["--epochs", "1"])
    assert given[1:4] == ["-m", "siamese_cli", "train"]
    assert str(config) in given
    values = {"data": prepared.training_images, "teacher": prepared.teacher}
    make_train_config({**read_config_file(config), **values}, str(config))


def test_the_second_stage_begins_with_the_model_of_the_first(prepared: Workplace) -> None:
    first, second = train_command(prepared), robust_command(prepared)
    assert first[first.index("-o") + 1] == str(prepared.clean_model)
    assert second[second.index("--encoder") + 1] == str(prepared.clean_model)
    assert second[second.index("-o") + 1] == str(prepared.model)
    assert prepared.clean_model != prepared.model
    assert prepared.clean_trained != prepared.trained


@pytest.mark.real_data
def test_nobody_of_the_real_archive_is_in_devtest(real_data: Path) -> None:
    data = real_data / "data"
    with zipfile.ZipFile(data / "faces-train.zip") as archive:
        names = archive.namelist()
    people = {name.split("/")[2] for name in names if name.split("/")[1] in NAMED_SETS}
    test = {person_key(name) for name in listed_people(data / "lfw-protocol" / "peopleDevTest.txt")}
    train = {person_key(name) for name in listed_people(data / "lfw-protocol" / "peopleDevTrain.txt")}
    assert len(people) > 70 and len(test) > 1700
    assert not {person_key(name) for name in people} & test
    assert {person_key(name) for name in people} & train  # the same names, written alike: the keys do find them
    assert not train & test
    unknown = [name for name in names if name.startswith("faces-train/utk/")]
    assert len(read_groups(unknown)) >= 0.999 * len(unknown)


@pytest.mark.real_data
def test_the_real_people_are_read_from_pairs_with_crops(real_data: Path, tmp_path: Path) -> None:
    place = Workplace(real_data / "data", real_data / "weights", tmp_path)
    people = listed_people(place.protocol("peopleDevTrain.txt"))
    needed = needed_of_lfw(place, people)
    shown = {path.partition("/")[0] for path in needed}
    assert set(people) <= shown
    assert len(needed) < 13_233  # images that no pair shows of people who are not trained on are left alone
