"""Protocols, thresholds, ensembles, cohorts and abstaining, through `siamese evaluate`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.model.card import read_card

from .conftest import ENCODER, Siamese


@pytest.fixture
def test_pairs(pairs: Path, faces: Path) -> tuple[object, ...]:
    return "--pairs", pairs / "test.csv", "--root", faces


def test_a_file_without_folds_is_measured_in_ten_blocks(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...], tmp_path: Path
) -> None:
    found = siamese("evaluate", model, *test_pairs, "--protocol", "folds", "--json").json
    assert found["threshold_from"] == "the other 9 folds"
    assert found["accuracy_std"] is not None


@pytest.mark.parametrize("at", ["accuracy", "f1", "eer"])
def test_a_point_of_the_model_is_asked_for_by_name(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...], at: str
) -> None:
    found = siamese("evaluate", model, *test_pairs, "--at", at, "--json").json
    point = next(point for point in read_card(model).operating_points if point.name == at)
    assert found["threshold"] == point.threshold
    assert found["threshold_from"].endswith(f"({at})")


def test_a_threshold_is_given_by_hand(siamese: Siamese, model: Path, test_pairs: tuple[object, ...]) -> None:
    outcome = siamese("evaluate", model, *test_pairs, "--threshold", "0.25")
    assert "threshold 0.2500, fitted on nothing: given by hand" in outcome.out


def test_an_ensemble_scores_by_the_mean_of_its_models(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...], pairs: Path, tmp_path: Path
) -> None:
    encoder = ("--val-pairs", pairs / "val.csv", "--no-report")
    out = tmp_path / "out"
    result = siamese("evaluate", model, ENCODER, *test_pairs, *encoder, "--ensemble", "-o", out, "--json").json
    together = result["models"][2]
    assert together["model"] == "mean of 2 models"
    tables = [pd.read_csv(path) for path in sorted(out.glob("*/scores.csv"))]
    assert len(tables) == 3
    expected = (tables[0]["similarity"] + tables[1]["similarity"]) / 2
    np.testing.assert_allclose(tables[2]["similarity"], expected, atol=1e-7)
    assert together["threshold_from"] == f"{pairs / 'val.csv'} (accuracy)"
    assert together["calibration"]["split"] == str(pairs / "val.csv")
    members = [each["preprocessing"] for each in result["models"][:2]]
    assert together["preprocessing"] == {"mean_of": members}
    assert [each["second"] for each in result["comparisons"]] == [ENCODER, "mean of 2 models"]


def test_an_ensemble_has_no_operating_points_of_its_own(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...]
) -> None:
    outcome = siamese("evaluate", model, model, *test_pairs, "--ensemble", "--at", "eer")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--at: nothing here has operating points; fit some with --val-pairs, or give --threshold" in outcome.err
    alone = siamese("evaluate", model, *test_pairs, "--ensemble")
    assert alone.code == 2
    assert "--ensemble: averages several models; name at least two" in alone.err


def test_the_report_shows_an_ensemble_too(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...], tmp_path: Path
) -> None:
    outcome = siamese("evaluate", model, ENCODER, *test_pairs, "--ensemble", "-o", tmp_path)
    assert outcome.code == 0, outcome.err
    page = (tmp_path / "report.html").read_text()
    assert "mean of 2 models" in page


def test_a_cohort_is_recorded_and_lets_the_threshold_be_fitted_anew(
    siamese: Siamese, model: Path, faces: Path, test_pairs: tuple[object, ...]
) -> None:
    found = siamese("evaluate", model, *test_pairs, "--cohort", faces, "--normalise", "t", "--json").json
    assert found["preprocessing"]["cohort"] == {"data": str(faces), "images": 24 * 6, "method": "t", "top": None}
    assert found["threshold_from"] == "the other fold"
    assert found["calibration"] is None


def test_what_was_done_to_the_images_is_recorded(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...]
) -> None:
    found = siamese("evaluate", model, *test_pairs, "--flip", "--align", "no", "--json").json["preprocessing"]
    card = read_card(model)
    assert found["encoder"] == card.encoder.name
    assert found["model_sha256"] == card.sha256
    assert found["input"] == card.encoder.input_spec.model_dump(mode="json")
    assert (found["align"], found["face"], found["flip"]) == ("no", "auto", True)
    assert found["weights"] is None


def test_abstaining_is_measured_where_there_are_probabilities(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...]
) -> None:
    found = siamese("evaluate", model, *test_pairs, "--abstain", "0.3", "--json").json
    assert found["abstain"]["allowed"] == 0.3
    assert 0 <= found["abstain"]["answered"] <= 1
    text = siamese("evaluate", model, *test_pairs, "--abstain", "0.3").out
    assert (
        f"answering only at 30.00 % chance of error or less: {100 * found['abstain']['answered']:.2f} % answered"
        in text
    )
    refused = siamese("evaluate", ENCODER, *test_pairs, "--abstain", "0.3")
    assert refused.code == 2
    assert (
        "--abstain 0.3: needs probabilities, and there is no calibration for all of these scores; fit" in refused.err
    )
    beyond = siamese("evaluate", model, *test_pairs, "--abstain", "0.6")
    assert (
        "--abstain 0.6: expected the probability of a wrong answer that is allowed, above 0 and below 0.5"
        in beyond.err
    )


def test_scores_and_embeddings_are_described(siamese: Siamese, model: Path, test_pairs: tuple[object, ...]) -> None:
    found = siamese("evaluate", model, *test_pairs, "--json").json["diagnostics"]
    assert found["alignment"] > 0 > found["uniformity"]
    assert found["gap"]["genuine_mean"] > found["gap"]["impostor_mean"]


def test_a_model_from_random_weights_has_no_baseline_to_load(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...], tmp_path: Path
) -> None:
    reason = f"the encoder of {model} started from random weights, and those are not kept"
    asked = siamese("evaluate", model, *test_pairs, "--baseline")
    assert (asked.code, asked.out) == (2, "")
    assert f"--baseline: {reason}" in asked.err
    by_itself = siamese("evaluate", model, *test_pairs, "-o", tmp_path, "--json")
    assert by_itself.code == 0
    assert f"no comparison with the untouched encoder: {reason}" in by_itself.err
    assert "baseline" not in by_itself.json
    several = siamese("evaluate", model, model, *test_pairs, "--baseline")
    assert "--baseline: belongs to one model, and 2 are given; leave it out" in several.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--pairs: name a labelled pair file"),
        (("--protocol", "identification"), "--data: name a folder of identities or a manifest"),
        (("--protocol", "one-shot", "--pairs", "p.csv"), "--pairs: belongs to the options of a pair file"),
        (
            ("--protocol", "one-shot", "--data", "d", "--gallery", "g"),
            "--gallery g: belongs to --protocol identification; leave it",
        ),
        (
            ("--protocol", "identification", "--data", "d", "--ways", "5"),
            "--ways 5: belongs to --protocol one-shot; leave it out",
        ),
        (
            ("--pairs", "p.csv", "--ways", "5"),
            "--ways: belongs to --protocol identification or one-shot; leave it out",
        ),
        (("--pairs", "p.csv", "--normalise", "z"), "--normalise: belongs to --cohort"),
        (("--pairs", "p.csv", "--cohort-top", "9"), "--cohort-top: belongs to --cohort"),
        (
            ("--pairs", "p.csv", "--protocol", "lfv"),
            "unknown protocol 'lfv': did you mean 'lfw'? known: cfp-ff, cfp-fp",
        ),
    ],
)
def test_options_that_nothing_looks_at_are_refused(siamese: Siamese, options: tuple[str, ...], message: str) -> None:
    outcome = siamese("evaluate", ENCODER, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_metrics_of_the_file_are_those_printed(
    siamese: Siamese, model: Path, test_pairs: tuple[object, ...], tmp_path: Path
) -> None:
    printed = siamese("evaluate", model, *test_pairs, "-o", tmp_path, "--json").json
    assert json.loads((tmp_path / "metrics.json").read_text()) == printed
