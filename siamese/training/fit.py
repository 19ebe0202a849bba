"""Training: baseline first, then fitting, then the model folder of the best."""

import time
from dataclasses import dataclass
from pathlib import Path

from siamese.config import TrainConfig
from siamese.device import resolve_device
from siamese.encoders.registry import create_untrained
from siamese.errors import OptionError
from siamese.heads.identity import IdentityHead
from siamese.model.card import ValidationFigures
from siamese.model.folder import save_model
from siamese.model.network import SiameseNetwork
from siamese.progress import log
from siamese.training.averaging import Averaging
from siamese.training.card import describe_model
from siamese.training.checkpoint import LAST, Checkpoints
from siamese.training.curves import save_curves
from siamese.training.guard import Guard
from siamese.training.keeper import BestKeeper, Select, word_figures
from siamese.training.kept_features import clear_features
from siamese.training.processes import first_goes_ahead, is_first, joined, share
from siamese.training.run import Run
from siamese.training.run_folder import check_folder
from siamese.training.stop import Stop, stoppable
from siamese.training.track import TrackEvaluations, TrackSteps, start_tracker
from siamese.training.trainer import create_trainer, fit
from siamese.training.validation import Validation
from siamese.training.watch import Watch


@dataclass(frozen=True)
class TrainResult:
    """What a run gives back.

    Attributes:
        model_folder: the best of all evaluations, saved.
        baseline: the untouched encoder on the validation data.
        best: the saved model on the same data.
        best_epoch: 0 when nothing beat the baseline.
        epochs: epochs evaluated, the baseline not counted.
        stopped: whether the user ended the run early.
        seconds: of the whole run.
        images_per_second: images through training steps a second; 0 when there were none.
        device: where it ran.
        cached: whether the head trained on features computed once.
        events: how often the watchers noticed a `collapse` or something `nonfinite`.
    """

    model_folder: Path
    baseline: ValidationFigures
    best: ValidationFigures
    best_epoch: int
    epochs: int
    stopped: bool
    seconds: float
    images_per_second: float
    device: str
    cached: bool
    events: dict[str, int]


def train(config: TrainConfig, folder: Path, *, resume: bool = False, force: bool = False) -> TrainResult:
    """Train a verifier by transfer and write its model folder.

    The untouched encoder is evaluated before the first step and competes with every epoch; the best on the
    validation data is saved, with operating points fitted on its pairs. Pairs, configuration, history, curves and,
    while it runs, checkpoints are in `folder/run`. Ctrl-C ends after the batch in hand with the best so far.

    Started by `torchrun`, every process calls this with the same arguments, and takes its share of every batch.

    Args:
        config: what to do.
        folder: the model folder to write.
        resume: go on with the interrupted run in `folder`, whose configuration must be the same.
        force: replace the model, or give up the interrupted run, that is in `folder`.

    Raises:
        SiameseError: whatever in the data, the options or the folder makes the run impossible.
    """
    started = time.perf_counter()
    with joined(resolve_device(config.device)) as device:
        with first_goes_ahead():
            if is_first():
                check_folder(folder, config, resume=resume, force=force)
        run = Run(config, folder, device, resume=resume)
        try:
            keeper, watch, guard = _fit(run, resume=resume)
            if is_first():
                _save(run, keeper, folder)
        finally:
            run.close()
    return TrainResult(
        model_folder=folder,
        baseline=keeper.figures(0),
        best=keeper.figures(keeper.best_epoch),
        best_epoch=keeper.best_epoch,
        epochs=len(keeper.history) - 1,
        stopped=keeper.stopped,
        seconds=time.perf_counter() - started,
        images_per_second=watch.images_per_second,
        device=device,
        cached=run.inputs.cached,
        events=guard.events,
    )


def _fit(run: Run, *, resume: bool) -> tuple[BestKeeper, Watch, Guard]:
    """Measure the baseline, then train, or go on with what was interrupted."""
    config, data = run.config, run.data
    checkpoints = Checkpoints(run.path, config.checkpoint_every, config.accumulate, run.module.average)
    validation = Validation(run.inputs.images, data.val, data.held_out, run.inputs.damaged, data.by_teacher)
    keeper = BestKeeper(validation, run.path, checkpoints, select=_select(run), patience=config.patience)
    last = run.path / LAST
    checkpoint = last if resume and last.is_file() else None
    if checkpoint is None:
        keeper.record(run.start_classes())
        log.info("baseline: validation %s", word_figures(keeper.figures(0)))
    watch, guard, stop = Watch(run.device), Guard(config.on_collapse, config.on_nonfinite, data.paths), Stop(keeper)
    tracker = start_tracker(config, run.path, run.objective, checkpoint)
    steps = TrackSteps(tracker, guard.figures)
    evaluations = TrackEvaluations(tracker, steps, lambda: keeper.history)
    # In this order: what a checkpoint remembers of a batch has been noted when it is written.
    averaging = [] if run.module.average is None else [Averaging()]
    callbacks = [watch, guard, steps, *averaging, keeper, evaluations, stop, checkpoints]
    trainer = create_trainer(config, callbacks, run.device, share())
    run.network.train()
    succeeded = False
    try:
        with stoppable(stop):
            fit(trainer, run.module, checkpoint)
        succeeded = True
    finally:
        tracker.close(succeeded=succeeded)
    return keeper, watch, guard


def _select(run: Run) -> Select:
    judged = run.data.held_out is not None and run.network.identity_head is not None
    if run.config.select == "top1" and not judged:
        raise OptionError("--select top1: needs --val-images and a loss with a classifier, such as arcface")
    return "top1" if judged and run.config.select != "auc" else "auc"


def _save(run: Run, keeper: BestKeeper, folder: Path) -> None:
    """Write the model folder of the best evaluation, and remove what only an interrupted run needs."""
    save_curves(keeper.history, run.path / "curves.png", keeper.best_epoch)
    best = _best_network(run, keeper).to(run.device)
    save_model(folder, best, describe_model(run.config, best, keeper, run.data))
    if not keeper.stopped:
        keeper.clear(all_files=True)
        (run.path / LAST).unlink(missing_ok=True)
        clear_features(run.path)


def _best_network(run: Run, keeper: BestKeeper) -> SiameseNetwork:
    """The network of the best evaluation: the trained one, or the encoder as it came."""
    if keeper.best_epoch > 0:
        keeper.load_best(run.network)
        return run.network
    # Built anew: training may have changed the encoder.
    encoder = create_untrained(run.encoder.name, run.encoder.input_spec)
    encoder.weights, encoder.pretrained = run.encoder.weights, run.encoder.pretrained
    untouched = SiameseNetwork(encoder)
    if run.network.identity_head is not None:
        untouched.identity_head = IdentityHead(untouched.embedding_dim, run.network.identity_head.identities)
    keeper.load_best(untouched)
    return untouched
