"""The whole job on synthetic identities: data, pairs, training, evaluation on unseen identities with its report."""

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from siamese.config import make_train_config
from siamese.demo.folder import write_identities
from siamese.demo.start import choose_start
from siamese.images.catalog import read_catalog
from siamese.inference.baseline import BASELINE
from siamese.inference.comparison import Comparison
from siamese.inference.evaluate import evaluate
from siamese.inference.evaluation import Evaluation, save_evaluation
from siamese.inference.model_comparison import compare_models
from siamese.inference.verifier import Verifier
from siamese.pairing.formats import read_pairs
from siamese.pairing.make import MakePairs, make_pair_files
from siamese.progress import log
from siamese.report.of_evaluations import Evaluated, report_content
from siamese.report.pictures import pictures_of
from siamese.training.fit import TrainResult, train


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        identities: synthetic people.
        images: images of each.
        epochs: of training.
        num_pairs: over training, validation and test.
    """

    identities: int
    images: int
    epochs: int
    num_pairs: int


FULL = Scale(identities=300, images=12, epochs=6, num_pairs=8_000)
QUICK = Scale(identities=120, images=8, epochs=3, num_pairs=3_000)
SHARES = (0.7, 0.1, 0.2)


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured and wrote.

    Attributes:
        encoder: that training started from.
        faces: folder of the rendered identities.
        pairs: pair files by name.
        training: the run.
        baseline: the untouched encoder on pairs of identities that training never saw.
        trained: the model folder on the same pairs.
        comparisons: a genuine and an impostor pair of those, with the images compared.
        report: the page with the figures of both.
        written: what the user may want to look at.
        seconds: of everything.
    """

    encoder: str
    faces: Path
    pairs: dict[str, dict[str, int | None]]
    training: TrainResult
    baseline: Evaluation
    trained: Evaluation
    comparisons: tuple[tuple[Path, Path, Comparison], ...]
    report: Path
    written: tuple[Path, ...]
    seconds: float


def run_demo(folder: Path, *, quick: bool = False, seed: int = 0, device: str = "auto") -> DemoResult:
    """Run the main job in `folder` on rendered faces; nothing is downloaded.

    What an earlier demo left in `folder` is replaced.

    Args:
        folder: where everything goes: `faces-.../`, `pairs/`, `model/`, `evaluation/`.
        quick: less of everything.
        seed: of faces, pairs and training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """
    started = time.perf_counter()
    scale, start = QUICK if quick else FULL, choose_start()
    # Named by what is in it, so that a demo of another size never mixes with it.
    faces = folder / f"faces-{scale.identities}x{scale.images}-seed{seed}"
    pairs, model, evaluation = (folder / name for name in ("pairs", "model", "evaluation"))
    log.info("rendering %d identities with %d images each", scale.identities, scale.images)
    write_identities(faces, identities=scale.identities, images=scale.images, seed=seed)
    counts = make_pair_files(
        read_catalog(faces).images, pairs, MakePairs(num_pairs=scale.num_pairs, shares=SHARES, seed=seed)
    )
    config = make_train_config(
        {
            "data": faces,
            "pairs": pairs / "train.csv",
            "val_pairs": pairs / "val.csv",
            "encoder": start.encoder,
            "input_size": start.input_size,
            "epochs": scale.epochs,
            "seed": seed,
            "device": device,
            **start.options,
        },
        "the demo",
    )
    training = train(config, model, force=True)
    test = pairs / "test.csv"
    torch.manual_seed(seed)  # the random weights that training started from
    untouched = start.untouched(device)
    baseline = evaluate(untouched, test, root=faces, protocol=start.protocol(pairs / "val.csv"))
    verifier = Verifier.load(model, device=device, runtime="torch")
    trained = evaluate(verifier, test, root=faces)
    save_evaluation(trained, evaluation, {"model": str(model), "device": verifier.device})
    report = _report(
        [Evaluated(BASELINE, untouched, baseline), Evaluated(str(model), verifier, trained)], test, faces, evaluation
    )
    chosen = _one_of_each(read_pairs(test))
    comparisons = tuple(
        (faces / left, faces / right, verifier.compare(faces / left, faces / right))
        for left, right in zip(chosen["left"], chosen["right"], strict=True)
    )
    return DemoResult(
        encoder=start.encoder,
        faces=faces,
        pairs=counts,
        training=training,
        baseline=baseline,
        trained=trained,
        comparisons=comparisons,
        report=report,
        written=(faces, pairs, model, evaluation),
        seconds=time.perf_counter() - started,
    )


def _report(models: "list[Evaluated]", pairs: Path, faces: Path, folder: Path) -> Path:
    """The page, with both models on the same pairs and the test between them."""
    from siamese.report.page import write_report  # matplotlib

    comparisons = compare_models([(each.name, each.evaluation) for each in models])
    content = report_content(models, comparisons, pairs, baseline=BASELINE)
    with pictures_of(pairs, faces) as pictures:
        return write_report(content, folder, pictures)[0]


def _one_of_each(pairs: pd.DataFrame) -> pd.DataFrame:
    """The first genuine and the first impostor pair: drawn by chance, not picked for their scores."""
    return pd.concat([pairs[pairs["same"]].head(1), pairs[~pairs["same"]].head(1)])
