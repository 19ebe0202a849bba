"""All verification metrics of ten million scores, against sorting those scores once.

    python benchmarks/ten_million_scores.py [PAIRS]

Scores without ties (the costliest: every one is a threshold) and scores of four decimals, a tenth of them genuine.
Each runs in a process of its own. Prints the seconds of one `np.sort` of the same array, those of counting the curve,
those of every metric from that curve, both together over the sort, and the peak of memory while counting and
measuring over the bytes of the input (the input itself included).
"""

import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from siamese.evaluation import metrics, thresholds
from siamese.evaluation.curves import Curve
from siamese.evaluation.diagnostics import score_gap

T = TypeVar("T")

PAIRS = 10_000_000
KINDS = {"no ties": None, "4 decimals": 4}


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    for name in KINDS:
        command = [sys.executable, __file__, "--child", name, str(pairs)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{pairs:,} scores, {name}")
        for what, seconds in found["seconds"].items():
            print(f"  {what:<34} {seconds:8.3f} s")
        total = sum(found["seconds"].values()) - found["seconds"]["np.sort"]
        print(f"  {'everything':<34} {total:8.3f} s = {total / found['seconds']['np.sort']:.2f} x np.sort")
        print(f"  {'peak memory over the input':<34} {found['peak']:8.2f} x")


def child(name: str, pairs: int) -> None:
    scores, same = made(pairs, KINDS[name])
    seconds: dict[str, float] = {}
    timed(seconds, "np.sort", lambda: np.sort(scores))
    tracemalloc.start()
    curve: Curve = timed(seconds, "the curve", lambda: Curve.of(scores, same))
    for what, of in of_curve(curve).items():
        timed(seconds, what, of)
    threshold = curve.eer_point()[1]
    at = (metrics.accuracy_at, metrics.precision_at, metrics.recall_at, metrics.f1_at, metrics.matthews_at)
    timed(seconds, "five figures at a threshold", lambda: [of(scores, same, threshold) for of in at])
    timed(seconds, "means and deviations", lambda: score_gap(scores, same))
    timed(seconds, "smoothed accuracy threshold", lambda: thresholds.smoothed_accuracy_threshold(scores, same))
    given, peak = scores.nbytes + same.nbytes, tracemalloc.get_traced_memory()[1]
    print(json.dumps({"seconds": seconds, "peak": (given + peak) / given}))


def of_curve(curve: Curve) -> dict[str, Callable[[], object]]:
    return {
        "AUC": curve.auc,
        "average precision": curve.average_precision,
        "EER": curve.eer_point,
        "ROC": curve.roc,
        "DET": curve.det,
        "best F1 threshold": lambda: curve.threshold_of_highest(curve.f1()),
        "best accuracy threshold": lambda: curve.threshold_of_highest(curve.accuracy()),
        "F1 over threshold, 1000 points": lambda: thresholds.over_threshold(curve, curve.f1()),
        "accuracy over threshold, 1000": lambda: thresholds.over_threshold(curve, curve.accuracy()),
        "TAR, FRR, threshold at six FARs": lambda: [
            (curve.tar_at_far(far), curve.frr_at_far(far), curve.threshold_at_far(far)) for far in metrics.FARS
        ],
        "minimum detection cost": lambda: metrics.min_detection_cost_of(curve),
    }


def made(pairs: int, decimals: int | None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    same = rng.random(pairs) < 0.1
    scores = rng.normal(0.0, 0.2, pairs)
    scores[same] += 0.6
    return (scores if decimals is None else np.round(scores, decimals, out=scores)), same


def timed(seconds: dict[str, float], what: str, of: Callable[[], T]) -> T:
    started = time.perf_counter()
    result = of()
    seconds[what] = time.perf_counter() - started
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
