"""A training run: baseline first, then fitting, then the model folder of the best."""

import importlib.metadata
import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch

import siamese
from siamese.atomic import write_text
from siamese.config import TrainConfig, make_train_config, read_config_file
from siamese.device import resolve_device
from siamese.encoders.encoder import Encoder
from siamese.encoders.registry import create_encoder, create_untrained
from siamese.errors import DataError, DeviceError, OptionError
from siamese.images.cache import PixelCache
from siamese.images.loader import ImageLoader
from siamese.images.pixel_store import open_pixel_store
from siamese.losses.batch import TripletIndex
from siamese.losses.registry import Objective, parse_objective
from siamese.model.folder import CARD, ModelCard, TrainingCard, ValidationFigures, describe_encoder, save_model
from siamese.model.network import SiameseNetwork
from siamese.pairing.table import unique_images
from siamese.progress import log
from siamese.training.batches import EpochBatches, Tuples, index_tuples
from siamese.training.module import SiameseModule
from siamese.training.pairs import RunPairs, kept_pairs, prepare_pairs
from siamese.training.validation import Validation
from siamese.training.watch import LAST, BestKeeper, Watch, stoppable

RUN, CONFIG = "run", "config.json"


@dataclass(frozen=True)
class TrainResult:
    """What a run gives back.

    Attributes:
        model_folder: the best of all evaluations, saved.
        baseline: the untouched encoder on the validation pairs.
        best: the saved model on the same pairs.
        best_epoch: 0 when nothing beat the baseline.
        epochs: epochs evaluated, the baseline not counted.
        stopped: whether the user ended the run early.
        seconds: of the whole run.
        images_per_second: images through training steps a second; 0 when there were none.
        device: where it ran.
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


def train(config: TrainConfig, folder: Path, *, resume: bool = False, force: bool = False) -> TrainResult:
    """Train a verifier by transfer and write its model folder.

    The untouched encoder is evaluated before the first step and competes with every epoch; the best on the
    validation pairs is saved, with operating points fitted on them. Pairs, configuration, history and, while it
    runs, checkpoints are in `folder/run`. Ctrl-C ends after the batch in hand with the best so far.

    Args:
        config: what to do.
        folder: the model folder to write.
        resume: go on with the interrupted run in `folder`, whose configuration must be the same.
        force: replace the model, or give up the interrupted run, that is in `folder`.

    Raises:
        SiameseError: whatever in the data, the options or the folder makes the run impossible.
    """
    started = time.perf_counter()
    run = folder / RUN
    device = resolve_device(config.device)
    objective = parse_objective(config.loss)
    _check_folder(folder, config, resume=resume, force=force)
    torch.manual_seed(config.seed)
    encoder = create_encoder(config.encoder, input_size=config.input_size)
    network = _build(encoder, config)
    if resume:
        pairs = kept_pairs(run)
    else:
        # A verifier gains from more impostors: genuine pairs alone pull its space together (docs/decisions.md).
        ratio = "1:9" if _is_verifier(encoder) else "1:1"
        pairs = prepare_pairs(config, triplets=objective.needs is TripletIndex, folder=run, ratio=ratio)
        (run / LAST).unlink(missing_ok=True)  # of a run that --force gave up; it must not be resumed as this one
        write_text(run / CONFIG, config.model_dump_json(indent=2) + "\n")
    data = _read_images(config, network, pairs, device, run)
    try:
        keeper = BestKeeper(Validation(data.cache.pixels, data.val, device), run)
        checkpoint = run / LAST if resume and (run / LAST).is_file() else None
        if checkpoint is None:
            _evaluate_baseline(encoder, keeper, device)
        watch = Watch(device)
        _fit(config, network, objective, data, (watch, keeper), device, checkpoint)
        best = _best_network(encoder, network, keeper).to(device)
        card = _card(config, best, keeper, data)
        save_model(folder, best, card)
    finally:
        data.cache.close()
    if not keeper.stopped:
        keeper.clear(all_files=True)
    return TrainResult(
        model_folder=folder,
        baseline=keeper.figures(0),
        best=keeper.figures(keeper.best_epoch),
        best_epoch=keeper.best_epoch,
        epochs=len(keeper.history) - 1,
        stopped=keeper.stopped,
        seconds=time.perf_counter() - started,
        images_per_second=watch.images / watch.seconds if watch.seconds else 0.0,
        device=device,
    )


@dataclass(frozen=True)
class _RunData:
    cache: PixelCache
    train: Tuples
    val: Tuples


def _check_folder(folder: Path, config: TrainConfig, *, resume: bool, force: bool) -> None:
    kept = folder / RUN / CONFIG
    if resume:
        if not kept.is_file():
            raise OptionError(f"--resume: {folder} holds no run ({RUN}/{CONFIG} is missing); leave the option out")
        # A finished run clears its weights away; one stopped in its first epoch has them, but no checkpoint yet.
        if (folder / CARD).is_file() and not any((folder / RUN).glob("best-*.safetensors")):
            raise OptionError(f"--resume: the run in {folder} is complete; nothing is left to do")
        before = make_train_config(read_config_file(kept), str(kept))
        for key, value in config.model_dump().items():
            was = getattr(before, key)
            if value != was and key not in ("device", "workers", "cache", "cache_limit"):
                option = "--" + key.replace("_", "-")
                raise OptionError(f"--resume: the run in {folder} has {option} {was}, now {value}; give the same")
    elif (folder / CARD).exists() and not force:
        raise OptionError(f"-o {folder}: holds a model already; choose another folder, or --force to replace it")
    elif (folder / RUN / LAST).exists() and not force:
        raise OptionError(f"-o {folder}: holds an interrupted run; --resume goes on with it, --force starts anew")
    elif folder.exists() and not folder.is_dir():
        raise OptionError(f"-o {folder}: is a file; choose a folder")


def _is_verifier(encoder: Encoder) -> bool:
    # An aligned face template means that the weights were trained to verify; ImageNet's were not.
    return encoder.pretrained and encoder.input_spec.alignment != "none"


def _build(encoder: Encoder, config: TrainConfig) -> SiameseNetwork:
    head = config.head or ("identity-start" if _is_verifier(encoder) else "mlp")
    network = SiameseNetwork(encoder, head, config.embedding_dim)
    freeze = config.freeze or ("all" if encoder.pretrained else "none")
    network.freeze(freeze)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise OptionError(f"--freeze {freeze} with --head {head}: nothing is left to train; unfreeze or add a head")
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    log.info(
        "encoder %s, %d of %d stages frozen; head %s, embedding of %d; %.2f million parameters train",
        *(config.encoder, network.frozen_stages, len(encoder.stages()), head, network.embedding_dim, trained / 1e6),
    )
    return network


def _read_images(config: TrainConfig, network: SiameseNetwork, pairs: RunPairs, device: str, run: Path) -> _RunData:
    images = list(dict.fromkeys(unique_images(pairs.train) + unique_images(pairs.val)))
    loader = ImageLoader(network.input_spec, align=config.align, face=config.face, device=device)
    store = open_pixel_store(config.cache, config.cache_limit, loader)
    cache = PixelCache(loader, pairs.root, images, run / "pixels.bin", store=store)
    _report_unusable(cache)
    train, val = (index_tuples(frame, images, cache.usable) for frame in (pairs.train, pairs.val))
    lost = len(pairs.train) + len(pairs.val) - len(train) - len(val)
    if lost:
        log.warning("%d rows name an image that cannot be used and are left out", lost)
    if val.same is None or val.same.all() or not val.same.any():
        raise DataError("the validation pairs must hold genuine and impostor pairs; give others with --val-pairs")
    return _RunData(cache, train, val)


def _report_unusable(cache: PixelCache) -> None:
    for status, what in (("unreadable", "unreadable images"), ("no_face", "images without a face")):
        details = [outcome.detail for outcome in cache.outcomes if outcome.status == status]
        if details:
            log.warning("%d %s, first: %s", len(details), what, details[0])


def _evaluate_baseline(encoder: Encoder, keeper: BestKeeper, device: str) -> None:
    keeper.record(SiameseNetwork(encoder).to(device))
    figures = keeper.figures(0)
    log.info("baseline: validation AUC %.4f, accuracy %.4f, EER %.4f", figures.auc, figures.accuracy, figures.eer)


def _fit(
    config: TrainConfig,
    network: SiameseNetwork,
    objective: Objective,
    data: _RunData,
    callbacks: tuple[Watch, BestKeeper],
    device: str,
    checkpoint: Path | None,
) -> None:
    def batches(epoch: int) -> EpochBatches:
        return EpochBatches(
            data.cache.pixels,
            data.train,
            network.input_spec,
            augment=config.augment,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
        )

    module = SiameseModule(
        network,
        objective,
        lr=config.lr,
        weight_decay=config.weight_decay,
        epochs=config.epochs,
        batches=batches,
        workers=config.workers,
    )
    trainer = _trainer(config, callbacks, device)
    network.train()
    with stoppable(trainer, callbacks[1]), warnings.catch_warnings():
        # Few workers are a choice here (pixels are in memory), so is a GPU left idle, and frozen modules stay in
        # evaluation on purpose.
        quiet = (".*does not have many workers.*", "GPU available but not used.*", ".*in eval mode.*", ".*LeafSpec.*")
        for message in quiet:
            warnings.filterwarnings("ignore", message=message)
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)


def _trainer(config: TrainConfig, callbacks: tuple[Watch, BestKeeper], device: str) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    kind, _, number = device.partition(":")
    if config.precision == "fp16" and kind == "cpu":
        raise DeviceError("--precision fp16 needs a GPU; on a CPU use float32 or bf16")
    precisions = {"float32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    default = "float32" if kind == "cpu" else "bf16"
    return lightning.Trainer(
        accelerator="cpu" if kind == "cpu" else "gpu",
        devices=1 if kind == "cpu" else [int(number)],
        precision=precisions[default if config.precision == "auto" else config.precision],  # type: ignore[arg-type]
        max_epochs=config.epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )


def _best_network(encoder: Encoder, trained: SiameseNetwork, keeper: BestKeeper) -> SiameseNetwork:
    """The network of the best evaluation: the trained one, or the encoder as it came."""
    if keeper.best_epoch > 0:
        keeper.load_best(trained)
        return trained
    untouched = create_untrained(encoder.name, encoder.input_spec)
    untouched.weights, untouched.pretrained = encoder.weights, encoder.pretrained
    baseline = SiameseNetwork(untouched)
    keeper.load_best(baseline)
    return baseline


def _card(config: TrainConfig, best: SiameseNetwork, keeper: BestKeeper, data: _RunData) -> ModelCard:
    weights = best.encoder.weights
    training = TrainingCard(
        config=config.model_dump(mode="json"),
        baseline=keeper.figures(0),
        best=keeper.figures(keeper.best_epoch),
        best_epoch=keeper.best_epoch,
        images=len(np.unique(data.train.rows)),
        tuples=len(data.train),
        versions={
            "siamese": siamese.__version__,
            **{name: importlib.metadata.version(name) for name in ("torch", "timm", "lightning", "numpy")},
        },
    )
    return ModelCard(
        encoder=describe_encoder(best),
        head=best.head_name,
        embedding_dim=best.embedding_dim,
        operating_points=keeper.operating_points(best),
        training=training,
        licence=weights.licence if weights is not None else "of its training images",
    )
