"""Real signals on a real run, and real kills of writers: nothing finished is lost, nothing half is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from .conftest import ENCODER, REPOSITORY, Siamese, start

# Long enough that a signal lands in the middle.
LONG = ["--encoder", ENCODER, "--input-size", "32", "--epochs", "6", "--num-pairs", "256", "--lr", "0.001"]


def wait_for_epochs(folder: Path, epochs: int) -> None:
    """Until the history shows that many epochs beside the baseline."""
    history = folder / "run" / "history.csv"
    deadline = time.monotonic() + 300
    while not history.is_file() or len(history.read_text().splitlines()) < epochs + 2:
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.02)


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def test_ctrl_c_keeps_the_best_so_far_and_what_resume_needs(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    process = start("train", faces, *LONG, "--epochs", 200, "-o", folder, "--json")
    wait_for_epochs(folder, 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["stopped"]
    assert 1 <= result["epochs"] < 200
    assert result["best"]["auc"] >= result["baseline"]["auc"]
    assert siamese("evaluate", folder, "--pairs", folder / "run/val.csv", "--root", faces).code == 0
    assert "Traceback" not in err
    assert list((folder / "run").glob("best-*.safetensors"))


def test_a_request_to_end_keeps_the_best_also_when_it_comes_twice_at_once(faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    process = start("train", faces, *LONG, "--epochs", 200, "-o", folder)
    wait_for_epochs(folder, 1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert (folder / "model.json").is_file()
    assert err.count("stopping after this batch") == 1


def test_a_killed_run_resumes_to_the_very_model_of_an_undisturbed_one(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    finish(start("train", faces, *LONG, "-o", tmp_path / "whole"))
    killed = tmp_path / "killed"
    process = start("train", faces, *LONG, "-o", killed)
    wait_for_epochs(killed, 2)
    process.kill()
    process.communicate()
    assert not (killed / "model.json").exists(), "the run was over before the kill; make it longer"
    again = siamese("train", faces, *LONG, "-o", killed)
    assert again.code == 2
    assert "--resume goes on with it" in again.err
    finish(start("train", faces, *LONG, "-o", killed, "--resume"))
    histories = [pd.read_csv(tmp_path / name / "run" / "history.csv") for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*histories)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


# Every kind of state that a run has: what the loss learns and remembers, averaged weights, a rate that falls when
# nothing gets better, dropout and mining that draw, gradients of several batches, features that are kept.
STATES = {
    "tuples": ["--loss", "pairwise", "--pair-head", "difference", "--pair-hidden", "16", "--pair-dropout", "0.3"],
    "identities": [
        *("--loss", "cross_entropy:1.0+triplet:0.5+mining=distance+memory=64", "--ema", "0.9", "--accumulate", "2"),
        *(
            "--schedule",
            "plateau",
            "--step-epochs",
            "1",
            "--warmup",
            "0.5",
            "--optimizer",
            "sgd",
            "--batch-size",
            "16",
        ),
    ],
    "cached": ["--freeze", "all", "--head", "mlp", "--loss", "sup_con", "--schedule", "one-cycle", "--views", "2"],
}


@pytest.mark.parametrize("options", STATES.values(), ids=STATES)
def test_a_run_killed_at_any_step_resumes_to_the_very_model_of_an_undisturbed_one(
    faces: Path, tmp_path: Path, options: list[str]
) -> None:
    long = [*LONG[:4], "--epochs", 4, "--lr", "0.01", "--checkpoint-every", "3", "--cache", "off", *options]
    finish(start("train", faces, *long, "-o", tmp_path / "whole"))
    killed = tmp_path / "killed"
    resumed = 0
    process = start("train", faces, *long, "-o", killed)
    while process.poll() is None and resumed < 3:
        kill_after_checkpoints(process, killed / "run" / "last.ckpt", 2 + resumed % 3)
        if (killed / "model.json").exists():
            break
        resumed += 1
        process = start("train", faces, *long, "-o", killed, "--resume")
    finish(process)
    assert resumed >= 2, "the run was over before the kills; make it longer"
    histories = [pd.read_csv(tmp_path / name / "run" / "history.csv") for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*histories)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def kill_after_checkpoints(process: subprocess.Popen[str], file: Path, number: int) -> None:
    """Until the checkpoint was written anew that often, or the run is over."""
    seen = set()
    deadline = time.monotonic() + 300
    while len(seen) <= number and process.poll() is None:
        assert time.monotonic() < deadline, "the run never got there"
        if file.is_file():
            seen.add(file.stat().st_mtime_ns)
        time.sleep(0.005)
    process.kill()
    process.communicate()


def test_resume_refuses_a_finished_run_and_no_run(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    nothing = siamese("train", faces, *LONG, "-o", folder, "--resume")
    assert nothing.code == 2
    assert "holds no run" in nothing.err
    assert siamese("train", faces, *LONG, "--epochs", 1, "-o", folder).code == 0
    finished = siamese("train", faces, *LONG, "--epochs", 1, "-o", folder, "--resume")
    assert finished.code == 2
    assert "complete" in finished.err
    other = siamese("train", faces, *LONG, "--epochs", 2, "-o", folder, "--resume")
    assert other.code == 2


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_ctrl_c_elsewhere_exits_with_130_and_one_line(faces: Path, tmp_path: Path, number: int) -> None:
    process = start("demo", "--out", tmp_path / "demo")
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("demo/faces-*/person_0*")):  # rendering has begun
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "siamese: interrupted"
    assert "Traceback" not in err


# Forks a process that writes for ever, kills it after a random while, and looks at what is there; many times over.
# Only forked processes write and look, each with libraries of its own: a fork does not take threads along, and would
# share the lock of a progress bar, which a kill leaves locked.
KILLER = """
import json, os, random, statistics, sys, time
from pathlib import Path
folder, kills = Path(sys.argv[1]), int(sys.argv[2])
{body}
def child(work):
    number = os.fork()
    if number == 0:
        try:
            work()
        finally:
            os._exit(0)
    return number
def for_ever():
    turn = 0
    while True:
        turn += 1
        write(turn)
def finish(work):
    began = time.monotonic()
    os.waitpid(child(work), 0)
    return time.monotonic() - began
def answer(work):
    source, sink = os.pipe()
    finish(lambda: os.write(sink, json.dumps(work()).encode()))
    os.close(sink)
    with open(source) as opened:
        return json.loads(opened.read())
finish(prepare)
# As long as a process and one writing take here and now: kills hit every stage of it, whatever else the machine does.
once = statistics.median(finish(lambda: write(0)) for _ in range(3))
rng = random.Random(0)
seen = []
for _ in range(kills):
    number = child(for_ever)
    time.sleep(rng.uniform(0.1, 4) * once)
    os.kill(number, 9)
    os.waitpid(number, 0)
    seen.append(answer(look))
print(json.dumps(seen))
"""

PAIRS = """
import pandas as pd
from siamese.pairing.formats import write_pairs
def table(which):
    names = f"{{which}}/" + pd.Series(range(20_000)).astype(str)
    return pd.DataFrame({{"left": names, "right": names + "x", "same": [True, False] * 10_000}})
target = folder / "{name}"
def prepare():
    for which in (0, 1):
        write_pairs(table(which), folder / f"whole {{which}}" / "{name}")
    write(0)
def write(turn):
    write_pairs(table(turn % 2), target)
def look():
    whole = [(folder / f"whole {{which}}" / "{name}").read_bytes() for which in (0, 1)]
    return whole.index(target.read_bytes())
"""

MODEL = """
import torch
from siamese.encoders.registry import create_encoder
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, load_model, save_model
from siamese.model.network import SiameseNetwork
torch.set_num_threads(1)
def build(which):
    torch.manual_seed(which)
    network = SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(32, 32)), "mlp", 8192)
    card = {"head": "mlp", "embedding_dim": 8192, "operating_points": (), "licence": str(which)}
    return network, ModelCard(encoder=describe_encoder(network), **card)
built = [build(which) for which in (0, 1)]
def prepare():
    write(0)
def write(turn):
    save_model(folder / "model", *built[turn % 2])
def look():
    network, card = load_model(folder / "model")
    expected = built[int(card.licence)][0].state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    return int(card.licence)
"""


def kill_often(body: str, folder: Path, kills: int) -> list[object]:
    """What was found after each kill; that which is neither the old nor the new fails inside."""
    command = [sys.executable, "-c", KILLER.format(body=body), str(folder), str(kills)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == kills
    return found


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet"])
def test_a_killed_writer_of_pairs_leaves_the_old_file_or_the_new_one(tmp_path: Path, name: str) -> None:
    found = kill_often(PAIRS.format(name=name), tmp_path, 25)
    assert set(found) <= {0, 1}
    assert list(tmp_path.glob(".pairs-*")), "no kill hit a file that was being written; make the table larger"


def test_a_killed_writer_of_a_model_folder_leaves_the_old_model_or_the_new_one(tmp_path: Path) -> None:
    found = kill_often(MODEL, tmp_path, 25)
    assert set(found) == {0, 1}
    assert list((tmp_path / "model").glob(".model-*")), (
        "no kill hit a file that was being written; make the model larger"
    )


STORE = """
import shutil
import numpy as np
from siamese.images import cache
from siamese.images.cache import PixelCache
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader
from siamese.images.pixel_store import open_pixel_store
cache.STEP = 2
paths = sorted(path.name for path in (folder / "data").iterdir())
expected = np.load(folder / "expected.npy")
def fill(home):
    loader = ImageLoader(InputSpec(size=(32, 32)), workers=1)
    store = open_pixel_store(home, 1.0, loader)
    known = len(store)
    filled = PixelCache(loader, folder / "data", paths, folder / "unused.bin", store=store)
    filled.close()
    return known, filled.pixels
homes = [folder / f"cache {number}" for number in range(3)]
def prepare():
    pass
def write(turn):
    if turn % 3 == 0:  # what is removed may be hit as well
        shutil.rmtree(homes[turn // 3 % 3], ignore_errors=True)
    fill(homes[turn % 3])
def look():
    found = []
    for home in homes:
        known, pixels = fill(home)
        assert (pixels == expected).all()
        found.append(known)
    for home in homes:
        shutil.rmtree(home)
    return found
"""


def test_a_killed_writer_of_decoded_images_leaves_a_cache_that_serves_only_what_is_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    pixels = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "data" / f"{number:03}.png")
    np.save(tmp_path / "expected.npy", pixels)
    found = np.array(kill_often(STORE, tmp_path, 20))
    assert ((found > 0) & (found < len(pixels))).any(), "no kill hit a cache that was being filled; make it larger"
