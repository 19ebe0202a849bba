"""A full report on synthetic scores and rendered faces: three models, slices, groups, training and mistakes."""

import math
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from siamese.demo.identity import identity_stream, sample_identities
from siamese.demo.render import render
from siamese.demo.variation import sample_variation
from siamese.evaluation.curves import Curve
from siamese.evaluation.diagnostics import score_gap
from siamese.report.content import Comparison, ModelContent, ReportContent
from siamese.report.measured import Diagnostics, Fact, Figure, Matches, Reliability, ReliabilityBin, Slice
from siamese.report.mistakes import hardest_mistakes

NAMES = (
    "inception_resnet_v1@vggface2",
    "runs/2026-11-20 fine-tuned, triplet + semihard mining, light augmentation, 40 epochs, cosine learning rate",
    "timm/convnext_atto",
)
GROUPS = ("children", "young women", "young men", "older women", "older men", "(missing)")
PEOPLE = 60
THRESHOLD = 0.42


def scores_of(seed: int, gap: float, same: NDArray[np.bool_]) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(np.where(same, 0.42 + gap / 2, 0.42 - gap / 2), 0.13), -1, 1)


def figures(curve: Curve) -> tuple[Figure, ...]:
    accuracy = float(curve.accuracy().max())
    rates = [(f"TAR at FAR {far:g}", curve.tar_at_far(far)) for far in (1e-1, 1e-2, 1e-3, 1e-4)]
    return (
        Figure("accuracy", accuracy, accuracy - 0.006, accuracy + 0.005, percent=True),
        Figure("AUC", curve.auc(), curve.auc() - 0.003, min(1.0, curve.auc() + 0.002)),
        Figure("EER", curve.eer_point()[0], curve.eer_point()[0] - 0.004, curve.eer_point()[0] + 0.005, percent=True),
        *(
            Figure(
                name,
                rate,
                None if rate is None else rate - 0.02,
                None if rate is None else min(1.0, rate + 0.02),
                percent=True,
            )
            for name, rate in rates
        ),
    )


def slices(shift: float) -> tuple[Slice, ...]:
    poses = {"profile, turned away from the camera": 0.83, "three quarters": 0.91, "frontal": 0.95, "(missing)": None}
    ages = {f"{low} to {low + 9}": 0.86 + low / 800 for low in range(0, 60, 10)}
    return tuple(
        Slice(
            column,
            value,
            *(412, 388),
            figures=(
                Figure(
                    "accuracy",
                    *((None,) * 3 if share is None else (share + shift, share + shift - 0.03, share + shift + 0.025)),
                    percent=True,
                    note="" if share is not None else "6 genuine pairs, fewer than 10",
                ),
                Figure("FRR", None if share is None else 0.04, percent=True),
            ),
        )
        for column, parts in (("pose", poses), ("age gap in years", ages))
        for value, share in parts.items()
    )


def reliability(seed: int) -> Reliability:
    rng = np.random.default_rng(seed)
    bins = []
    for place in range(10):
        mean = 0.05 + place / 10
        genuine = float(np.clip(mean + rng.normal(0, 0.03), 0, 1))
        pairs = int(60 + 2400 * abs(place - 4.5) ** 4 / 400)
        half = 1.96 * math.sqrt(genuine * (1 - genuine) / pairs + 1e-4)
        bins.append(ReliabilityBin(mean, genuine, max(0.0, genuine - half), min(1.0, genuine + half), pairs))
    return Reliability(tuple(bins), ece=0.013 + seed / 1000, brier=0.045)


def history(epochs: int) -> tuple[dict[str, float], ...]:
    first = {"epoch": 0, "loss": math.nan, "auc": 0.952, "accuracy": 0.89, "eer": 0.11, "lr": math.nan}
    rest = [
        {
            "epoch": epoch,
            "loss": 0.9 * 0.9**epoch + 0.1,
            "auc": 0.952 + 0.03 * (1 - 0.85**epoch) - 0.0004 * max(0, epoch - 25),
            "accuracy": 0.89 + 0.05 * (1 - 0.85**epoch),
            "eer": 0.11 - 0.06 * (1 - 0.85**epoch),
            "lr": 1e-3 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]
    return (first, *rest)


def matches(seed: int) -> Matches:
    rng = np.random.default_rng(seed)
    size = len(GROUPS)
    rates = rng.gamma(1.5, 0.008, (size, size))
    rates = (rates + rates.T) / 2 + np.diag(rng.gamma(3.0, 0.01, size))
    pairs = rng.integers(20, 900, (size, size))
    pairs = (pairs + pairs.T) // 2
    far = tuple(
        tuple(None if n < 180 else float(x) for x, n in zip(*row, strict=True))
        for row in zip(rates, pairs, strict=True)
    )
    return Matches(GROUPS, far, tuple(tuple(int(n) for n in row) for row in pairs))


def diagnostics(scores: NDArray[np.float64], same: NDArray[np.bool_], place: int) -> Diagnostics:
    gap = score_gap(scores, same)
    figures = (gap.genuine_mean, gap.genuine_std, gap.impostor_mean, gap.impostor_std, gap.d_prime)
    return Diagnostics(None if place == 2 else 0.8 - 0.1 * place, None if place == 2 else -3.1 - place / 5, *figures)


def face(path: str) -> NDArray[np.uint8] | None:
    """The picture of `person_012/003.jpg`; one of them is damaged."""
    person, image = (int(part.split("_")[-1]) for part in PurePosixPath(path).with_suffix("").parts[-2:])
    if person == 41:
        return None
    who = sample_identities(PEOPLE, 0)[person]
    return render(who, sample_variation(identity_stream(0, person, 1, image)), 112)


def example(pairs: int = 6000) -> ReportContent:
    rng = np.random.default_rng(0)
    same = np.arange(pairs) % 2 == 0
    left = rng.integers(0, PEOPLE, pairs)
    right = np.where(same, left, (left + rng.integers(1, PEOPLE, pairs)) % PEOPLE)
    identities = tuple([f"person_{person:03d}" for person in side] for side in (left, right))
    paths = tuple([f"{name}/{row % 9:03d}.jpg" for row, name in enumerate(side)] for side in identities)
    models, mistakes = [], []
    for place, (name, gap) in enumerate(zip(NAMES, (0.42, 0.55, 0.3), strict=True)):
        scores = scores_of(place, gap, same)
        threshold = None if place == 2 else THRESHOLD
        warning = "the threshold was fitted on the pairs that it is reported on" if place == 0 else ""
        models.append(
            ModelContent(
                name=name,
                facts=(
                    Fact("encoder", "InceptionResnet-v1, vggface2, 512 features"),
                    Fact(
                        "preprocessing", "160 x 160, bilinear, mean 0.5, std 0.5, alignment mtcnn-160, flip averaged"
                    ),
                    Fact("threshold", "of each fold" if threshold is None else f"{threshold}"),
                    Fact("fitted on", "the other 9 folds" if threshold is None else "pairs/val.csv", warning),
                ),
                scores=scores,
                same=same,
                accepted=scores >= THRESHOLD,
                threshold=threshold,
                figures=figures(Curve.of(scores, same)),
                reliability=reliability(place) if place < 2 else None,
                history=history(40) if place == 1 else None,
                best_epoch=26 if place == 1 else None,
                slices=slices(0.02 * place),
                matches=matches(place) if place == 1 else None,
                diagnostics=diagnostics(scores, same, place),
            )
        )
        if place == 1:
            mistakes.append(hardest_mistakes(name, scores, same, THRESHOLD, paths, identities))
    difference = Figure("accuracy", 0.0216, 0.0141, 0.0287, percent=True)
    return ReportContent(
        title="Verification of faces: three models on 6,000 pairs",
        measured=(
            Fact("pairs", f"{pairs:,}: {pairs // 2:,} genuine and {pairs // 2:,} impostor"),
            Fact("images", "540 of 60 identities, each embedded once"),
            Fact("protocol", "ten folds, threshold from the other nine"),
            Fact("failed", "12 pairs without a score", "2 images could not be read"),
        ),
        models=tuple(models),
        comparisons=(
            Comparison(
                *NAMES[:2],
                (difference, Figure("AUC", 0.0121, 0.0088, 0.0153), Figure("TAR at FAR 0.0001", None)),
                "the second model is better",
                1e-5,
            ),
            Comparison(
                NAMES[0],
                NAMES[2],
                (Figure("accuracy", -0.0021, -0.0101, 0.0061, percent=True),),
                "no difference",
                0.61,
            ),
        ),
        baseline=Comparison(
            "untouched encoder (baseline)",
            NAMES[1],
            (
                Figure("accuracy", 0.0116, 0.0041, 0.0187, note="better", percent=True),
                Figure("TAR at FAR 0.001", None, note="insufficient data: 900 impostor pairs", percent=True),
            ),
            f"AUC: {NAMES[1]} is better (p < 0.001). Decisions: no significant difference (McNemar, p = 0.061).",
        ),
        mistakes=tuple(mistakes),
        intervals="95 %, BCa bootstrap over identities",
        command="siamese evaluate "
        + " ".join(repr(name) for name in NAMES)
        + " --pairs pairs/test.csv --root faces -o report",
        versions=(Fact("siamese", "0.1.0"), Fact("python", "3.11")),
    )
