"""From evaluations to what a report says of them, on models that are evaluated for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.encoders import create_encoder
from siamese.evaluation.intervals import Interval
from siamese.evaluation.mcnemar import McNemar
from siamese.evaluation.paired import Comparison
from siamese.evaluation.weighted import CURVE_STATISTICS, DECISION_STATISTICS
from siamese.inference.baseline import BASELINE
from siamese.inference.evaluate import evaluate
from siamese.inference.model_comparison import ModelComparison, compare_models
from siamese.inference.parts import measure_parts
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork
from siamese.report.content import ReportContent
from siamese.report.of_evaluations import Evaluated, report_content
from siamese.report.wording import statistic_name

PEOPLE, PHOTOS = 8, 5


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, random = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    for person in range(PEOPLE):
        pattern = 128 + np.kron(random.uniform(-40, 40, (4, 4, 3)), np.ones((8, 8, 1)))
        for photo in range(PHOTOS):
            pixels = np.clip(pattern + random.normal(0, 70, pattern.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"{person}-{photo}.png")
    names = [(person, f"{person}-{photo}.png") for person in range(PEOPLE) for photo in range(PHOTOS)]
    rows = [(a, b, one == other) for one, a in names for other, b in names if a < b]
    frame = pd.DataFrame(rows, columns=["left", "right", "same"])
    frame["light"] = np.where(np.arange(len(frame)) % 2, "day", "night")
    frame.loc[:5, "light"] = "dusk"
    frame.to_csv(root / "pairs.csv", index=False)
    return root / "pairs.csv"


def evaluated(pairs: Path, name: str, seed: int) -> Evaluated:
    torch.manual_seed(seed)
    network = SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(32, 32)))
    verifier = Verifier(name, network, None, device="cpu", flip=seed == 1)
    evaluation = evaluate(verifier, pairs, columns=["light"])
    return Evaluated(name, verifier, evaluation, measure_parts(evaluation, ["light"]))


@pytest.fixture(scope="module")
def both(pairs: Path) -> list[Evaluated]:
    return [evaluated(pairs, BASELINE, 0), evaluated(pairs, "model", 1)]


def content(both: list[Evaluated], pairs: Path, **options: str) -> ReportContent:
    comparisons = compare_models([(each.name, each.evaluation) for each in both])
    return report_content(both, comparisons, pairs, **options)


def test_the_baseline_comes_last_with_a_section_of_its_own_and_without_mistakes(
    both: list[Evaluated], pairs: Path
) -> None:
    found = content(both, pairs, baseline=BASELINE)
    assert [model.name for model in found.models] == ["model", BASELINE]
    assert found.comparisons == ()
    assert found.baseline is not None
    assert (found.baseline.first, found.baseline.second) == (BASELINE, "model")
    assert [mistakes.model for mistakes in found.mistakes] == ["model"]
    assert all(
        (root := mistake.left).endswith(".png") and root in found.pictures for mistake in found.mistakes[0].accepts
    )


def test_without_a_baseline_models_are_compared_as_they_come(both: list[Evaluated], pairs: Path) -> None:
    found = content(both, pairs, no_baseline="the weights are gone")
    assert [model.name for model in found.models] == [BASELINE, "model"]
    assert (found.baseline, found.no_baseline, len(found.comparisons)) == (None, "the weights are gone", 1)
    assert [mistakes.model for mistakes in found.mistakes] == [BASELINE, "model"]


def test_diagnostics_are_those_of_the_evaluation(both: list[Evaluated], pairs: Path) -> None:
    shown = content(both, pairs).models[1].diagnostics
    measured = both[1].evaluation.diagnostics
    assert shown is not None
    assert (shown.alignment, shown.uniformity) == (measured["alignment"], measured["uniformity"])
    scores, same = both[1].evaluation.similarities, both[1].evaluation.same
    assert shown.genuine_mean == pytest.approx(scores[same].mean())
    assert shown.impostor_std == pytest.approx(scores[~same].std(ddof=1))
    spread = np.sqrt((scores[same].var(ddof=1) + scores[~same].var(ddof=1)) / 2)
    assert shown.d_prime == pytest.approx((scores[same].mean() - scores[~same].mean()) / spread)


def test_slices_come_worst_first_and_have_the_same_figures_all(both: list[Evaluated], pairs: Path) -> None:
    slices = content(both, pairs).models[0].slices
    known = [part.figures[0].value for part in slices if part.figures[0].value is not None]
    assert len(known) == 2
    assert known == sorted(known)
    assert [part.value for part in slices][-1] == "dusk"
    names = [figure.name for figure in slices[0].figures]
    assert names == ["balanced accuracy", "AUC", "EER", "TAR", "FAR"]
    assert all([figure.name for figure in part.figures] == names for part in slices)
    assert {(figure.value, figure.note) for figure in slices[-1].figures} == {
        (None, "4 genuine and 2 impostor pairs, fewer than 10")
    }


def test_facts_say_how_images_and_scores_were_made(both: list[Evaluated], pairs: Path) -> None:
    plain, mirrored = ({fact.name: fact.value for fact in model.facts} for model in content(both, pairs).models)
    assert plain["input"] == "32 x 32 pixels, alignment none"
    assert mirrored["input"] == "32 x 32 pixels, alignment none, each image with its mirror image"
    together = Evaluated("mean of 2 models", None, both[0].evaluation)
    (model,) = report_content([together], (), pairs).models
    assert {fact.name: fact.value for fact in model.facts}["score"] == (
        "the mean of the similarities that the models give a pair"
    )
    assert model.history is None


def compared(difference: float, low: float, high: float, verdict: str, statistic: str = "auc") -> ModelComparison:
    each = Comparison(0.5, 0.5 + difference, difference, Interval(low, high, 0.95, "dyadic", 0), 0.004, verdict)
    plain = Comparison(0.5, 0.5, 0.0, None, None, "insufficient data: 9 people, an interval needs 60")
    decisions = McNemar(3, 4, 1.0, 1.0, "no significant difference")
    statistics = {"auc": plain, "eer": plain} | {statistic: each}
    return ModelComparison("one", "two", 10, statistics, decisions)


@pytest.mark.parametrize(
    ("statistic", "difference", "note"), [("auc", 0.1, "better"), ("eer", 0.1, "worse"), ("eer", -0.1, "better")]
)
def test_verdicts_name_statistics_as_the_report_does(
    both: list[Evaluated], pairs: Path, statistic: str, difference: float, note: str
) -> None:
    ends = sorted((difference / 2, difference * 2))
    verdict = f"somebody is better: {statistic} by 0.1 [0.05, 0.2]"
    found = compared(difference, ends[0], ends[1], verdict, statistic)
    (shown,) = report_content(both, [found], pairs).comparisons
    notes = {figure.name: figure.note for figure in shown.differences}
    assert notes[statistic_name(statistic)[0]] == note
    first = "two is better (p = 0.004)" if statistic == "auc" else "insufficient data: 9 people, an interval needs 60"
    assert shown.verdict == f"AUC: {first}. Decisions: no significant difference (McNemar, p = 1.000)."
    assert "tar_at_far" not in str(shown)


def test_every_statistic_has_a_name() -> None:
    for name in {*CURVE_STATISTICS, *DECISION_STATISTICS} - {"tar_at_far"}:
        shown, percent = statistic_name(name)
        assert "_" not in shown and isinstance(percent, bool)
    assert [statistic_name(f"tar_at_far={far:g}")[0] for far in (0.1, 1e-3, 1e-6)] == [
        "TAR at FAR 0.1",
        "TAR at FAR 0.001",
        "TAR at FAR 0.000001",
    ]
