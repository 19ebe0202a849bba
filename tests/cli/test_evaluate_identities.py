import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.encoders import create_encoder
from siamese.errors import OptionError
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork
from siamese_cli.evaluate_identities import evaluate_identities


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    torch.manual_seed(0)
    return Verifier(
        "net", SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(32, 32))), None, device="cpu"
    )


@pytest.fixture(scope="module")
def alphabets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("alphabets"), np.random.default_rng(0)
    for number in range(44):
        place = folder / f"alphabet{number // 4:02}" / f"c{number % 4}"
        place.mkdir(parents=True)
        strokes = np.kron(rng.uniform(0, 255, (4, 4)), np.ones((8, 8)))
        for drawer in range(3):
            pixels = np.clip(0.3 * strokes + rng.normal(90, 50, strokes.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{number + 1:04}_{drawer + 1:02}.png")
    for number in range(110):
        place = folder / "others" / f"s{number:03}"
        place.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(place / f"{number + 100:04}_01.png")
    return folder


@pytest.fixture(scope="module")
def grouped(alphabets: Path) -> Path:
    """A manifest of the alphabets without the others."""
    rows = [
        f"{image},{image.parent.parent.name}/{image.parent.name},{image.parent.parent.name}"
        for image in sorted(alphabets.glob("alphabet*/*/*.png"))
    ]
    listing = alphabets.parent / "alphabets.csv"
    listing.write_text("\n".join(["path,identity,group", *rows]) + "\n", encoding="utf-8")
    return listing


def test_identification_in_figures_and_in_words(verifier: Verifier, alphabets: Path, tmp_path: Path) -> None:
    extra = {"preprocessing": {"flip": False}}
    result, text = evaluate_identities(
        verifier, "my model", "identification", alphabets, runs=3, identity_depth=2, output=tmp_path, extra=extra
    )
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert list(result)[:3] == ["protocol", "data", "gallery"]
    assert (result["protocol"], result["gallery"], result["preprocessing"]) == (
        "identification",
        None,
        {"flip": False},
    )
    assert (result["model"], result["device"]) == ("my model", "cpu")
    assert result["seconds"] > 0
    assert (result["images"], result["failed"], result["runs"], result["seed"]) == (242, 0, 3, 0)
    assert (result["gallery_images"], result["gallery_identities"]) == (44, 44)
    assert (result["mated"], result["non_mated"]) == (88, 110)
    table = pd.read_csv(tmp_path / "probes.csv")
    mated = table[table["mated"] == 1]
    for rank in (1, 5, 10):
        share = (mated["rank"] <= rank).groupby(mated["run"]).mean()
        assert result["cmc"][str(rank)] == pytest.approx(share.mean())
        assert result["deviations"][f"cmc={rank}"] == pytest.approx(share.std())
    tpir = []
    for _, run in table.groupby("run"):
        strangers = np.sort(run["similarity"][run["mated"] == 0])[::-1]
        own = run[run["mated"] == 1]
        tpir.append(((own["right_similarity"] > strangers[11]) & (own["rank"] == 1)).mean())
    assert result["tpir_at_fpir"]["0.1"] == pytest.approx(np.mean(tpir))
    assert result["tpir_at_fpir"]["0.01"] is None
    lines = text.splitlines()
    assert lines[0] == (
        "3 galleries drawn, mean of them; each: 44 images of 44 identities; 88 mated probes, 110 non-mated"
    )
    assert lines[1].split() == ["my", "model", "cpu", "95", "%", "interval", "deviation", "of", "3", "runs"]
    low, high = result["intervals"]["cmc=1"]
    words = f"rank 1 {100 * result['cmc']['1']:.2f} % {100 * low:.2f} % to {100 * high:.2f} %"
    assert " ".join(lines[2].split()).startswith(words)
    assert [line.split("  ")[0] for line in lines[2:7]] == [
        "rank 1",
        "rank 5",
        "rank 10",
        "TPIR at FPIR 0.1",
        "TPIR at FPIR 0.01",
    ]
    assert lines[7] == "insufficient data: 110 non-mated probes expect fewer than 3 false positives at FPIR 0.01"
    assert lines[8] == "242 images embedded once each, 0 of them failed"
    assert lines[9] == f"written: {tmp_path / 'metrics.json'}, {tmp_path / 'probes.csv'}"


def test_a_given_gallery_in_words(verifier: Verifier, alphabets: Path, tmp_path: Path) -> None:
    rows = [
        f"{image},{image.parent.parent.name}/{image.parent.name}"
        for image in sorted(alphabets.glob("alphabet*/*/*_01.png"))
    ]
    listing = tmp_path / "gallery.csv"
    listing.write_text("\n".join(["path,identity", *rows]) + "\n", encoding="utf-8")
    result, text = evaluate_identities(verifier, "m", "identification", alphabets, gallery=listing, identity_depth=2)
    assert (result["gallery"], result["runs"], result["repeated"]) == (str(listing), 1, 44)
    lines = text.splitlines()
    assert lines[0] == "gallery: 44 images of 44 identities; 88 mated probes, 110 non-mated"
    assert lines[1].split() == ["m", "cpu", "95", "%", "interval"]
    assert lines[-1] == "44 images of the gallery among the probes left out"


def test_one_shot_in_figures_and_in_words(verifier: Verifier, grouped: Path, tmp_path: Path) -> None:
    result, text = evaluate_identities(verifier, "m", "one-shot", grouped, ways=4, runs=3, output=tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert (result["trials"], result["ways"], result["runs"]) == (11 * 3 * 4, 4, 3)
    table = pd.read_csv(tmp_path / "trials.csv")
    assert result["accuracy"] == pytest.approx(table["credit"].mean())
    by_group = table.groupby("group")["credit"].mean().sort_values(kind="stable")
    assert {row["group"]: row["accuracy"] for row in result["by_group"]} == pytest.approx(by_group.to_dict())
    accuracies = [row["accuracy"] for row in result["by_group"]]
    assert accuracies == sorted(accuracies)
    assert result["deviations"]["accuracy"] == pytest.approx(table.groupby("run")["credit"].mean().std())
    low, high = result["intervals"]["accuracy"]
    assert low < result["accuracy"] < high
    lines = text.splitlines()
    assert lines[0] == (
        "132 trials, 4-way: 3 runs in each of 11 groups; support and tests by two drawers (from file names)"
    )
    assert lines[3].startswith("by group, worst first")
    assert lines[4].split() == [result["by_group"][0]["group"], f"{100 * accuracies[0]:.2f}", "%"]
    assert lines[14] == "and 1 better one"
    assert lines[15] == f"{result['embedded']} images embedded once each, 0 of them failed; 132 given, 44 identities"
    assert lines[16] == f"written: {tmp_path / 'metrics.json'}, {tmp_path / 'trials.csv'}"


def test_without_groups_or_drawers_the_words_say_so(verifier: Verifier, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for person in range(5):
        (tmp_path / f"p{person}").mkdir()
        for photo in range(2):
            Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(
                tmp_path / f"p{person}" / f"{photo}.png"
            )
    _, text = evaluate_identities(verifier, "m", "one-shot", tmp_path, ways=5, runs=1)
    lines = text.splitlines()
    assert lines[0] == "5 trials, 5-way: 1 run; drawers not known: support and tests are other images"
    assert lines[1].split() == ["m", "cpu", "95", "%", "interval"]
    assert lines[3] == "insufficient data: an interval needs 10 groups, found 1"
    assert lines[4] == "10 images embedded once each, 0 of them failed; 10 given, 5 identities"


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        ("identification", {"ways": 5}, "--ways 5: belongs to --protocol one-shot; leave it out"),
        ("one-shot", {"gallery": Path("g")}, "--gallery g: belongs to --protocol identification; leave it out"),
        ("one-shot", {"gallery_images": 2}, "--gallery-images 2: belongs to --protocol identification; leave it out"),
        ("oneshot", {}, "unknown protocol 'oneshot': did you mean 'one-shot'? known: identification, one-shot"),
    ],
)
def test_options_of_the_other_protocol_are_refused(
    verifier: Verifier, protocol: str, options: dict, message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        evaluate_identities(verifier, "m", protocol, Path("nowhere"), **options)
    assert str(caught.value) == message
