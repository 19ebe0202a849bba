"""`siamese train`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.options import Json, Quiet, parse_size
from siamese_cli.output import emit, percent, table, talking

if TYPE_CHECKING:
    from siamese.config import TrainConfig
    from siamese.training.fit import TrainResult

# Options are None unless given, so that a configuration file can be told from the command line; the defaults live in
# siamese.config.TrainConfig, and a test holds the help texts against them.
Text = str | None
Number = int | None
Real = float | None
File = Path | None


def _option(text: str, flag: str | None = None) -> Any:
    return typer.Option(flag, help=text) if flag else typer.Option(help=text)


def train(
    context: typer.Context,
    data: Annotated[
        File, typer.Argument(help="Images by identity in any known layout, a manifest, or a pair file.")
    ] = None,
    pairs: Annotated[File, _option("Pair, triplet or quadruplet file to train on [made from DATA].")] = None,
    val_pairs: Annotated[File, _option("Pair file to validate on [identities carved out].")] = None,
    same_label: Annotated[Text, _option("Value of the label column that means same [1 or true].")] = None,
    val_share: Annotated[Real, _option("Share of identities carved out. [0.1]")] = None,
    val_images: Annotated[Number, _option("Hold out so many images of each identity, instead of identities.")] = None,
    num_pairs: Annotated[Number, _option("Pairs, triplets or quadruplets to make [as many as images].")] = None,
    ratio: Annotated[Text, _option("Genuine to impostor pairs to make [1:9 on a face verifier, else 1:1].")] = None,
    identity_depth: Annotated[Number, _option("Levels of folders that name an identity. [1]")] = None,
    identities: Annotated[File, _option("Use only the identities in this text file.")] = None,
    encoder: Annotated[
        Text, _option("NAME, NAME@TAG, NAME@FILE, timm/NAME, bundled or a model folder. [inception_resnet_v1]")
    ] = None,
    input_size: Annotated[Text, _option("N or HxW pixels [the encoder's own].")] = None,
    head: Annotated[
        Text,
        _option("identity-start, mlp, linear, linear-norm or none [identity-start on a face verifier, else mlp]."),
    ] = None,
    embedding_dim: Annotated[Number, _option("Width of the embedding [the head's own].")] = None,
    pair_head: Annotated[
        Text,
        _option(
            "What decides a pair: concatenation, difference, squared, chi-square, product, joined by + [cosine]."
        ),
    ] = None,
    pair_hidden: Annotated[Number, _option("Hidden units of the pair head; 0: logistic regression. [0]")] = None,
    pair_dropout: Annotated[Real, _option("Share of them dropped in training. [0.0]")] = None,
    loss: Annotated[
        Text,
        _option(
            "NAME, NAME+option=value, NAME:weight+NAME:weight; docs/losses.md lists them [pairwise with a pair head, "
            "else contrastive]."
        ),
    ] = None,
    teacher: Annotated[
        Text, _option("Whose embeddings --loss distill learns: a model folder, NAME@FILE, openvino:PATH.xml [none].")
    ] = None,
    freeze: Annotated[Text, _option("all, none or N stages from the input [all if pretrained, else none].")] = None,
    batches: Annotated[Text, _option("Made of tuples, of identities, or what the loss needs. [auto]")] = None,
    epochs: Annotated[Number, _option("Passes over the pairs or images. [10]")] = None,
    batch_size: Annotated[Number, _option("Pairs or triplets a step; images of identities. [32]")] = None,
    images_per_identity: Annotated[Number, _option("Images of each identity in such a batch. [4]")] = None,
    lr: Annotated[Real, _option("Learning rate. [0.0001]")] = None,
    layer_decay: Annotated[Real, _option("Learning rate of a stage over that of the stage above it. [1.0]")] = None,
    loss_lr: Annotated[Real, _option("Learning rate of what the loss learns, as a multiple. [10.0]")] = None,
    weight_decay: Annotated[Real, _option("Of all weights but biases and norms. [1e-05]")] = None,
    optimizer: Annotated[Text, _option("adamw, adam or sgd. [adamw]")] = None,
    momentum: Annotated[Real, _option("Of sgd. [0.9]")] = None,
    schedule: Annotated[Text, _option("cosine, one-cycle, plateau, step or constant. [cosine]")] = None,
    warmup: Annotated[Real, _option("Epochs of linear warm-up, also a fraction. [0.0]")] = None,
    step_epochs: Annotated[Number, _option("Epochs between falls of step, or of patience of plateau. [3]")] = None,
    gamma: Annotated[Real, _option("Factor of each such fall. [0.1]")] = None,
    clip: Annotated[Real, _option("Largest norm of the gradient [none].")] = None,
    accumulate: Annotated[Number, _option("Batches whose gradients make one step. [1]")] = None,
    ema: Annotated[Real, _option("Evaluate and save a moving average of the weights, of this decay [none].")] = None,
    patience: Annotated[Number, _option("End after so many epochs without a better evaluation [never].")] = None,
    select: Annotated[Text, _option("Best is by auc, or by top1 of the identity head. [auto]")] = None,
    augment: Annotated[Text, _option("none, light, standard, affine or distortion. [light]")] = None,
    val_augment: Annotated[Text, _option("Validate on damaged images too: distortion, none, or auto. [auto]")] = None,
    views: Annotated[Number, _option("Augmented views of each image [ever new; 8 of cached features].")] = None,
    features: Annotated[Text, _option("Of a frozen encoder: cached, live, or auto. [auto]")] = None,
    align: Annotated[Text, _option("auto, yes or no: align raw photographs. [auto]")] = None,
    face: Annotated[Text, _option("Which face of several: auto, largest or center. [auto]")] = None,
    precision: Annotated[Text, _option("auto (bf16 on a GPU, float32 on a CPU), float32, bf16, fp16. [auto]")] = None,
    compile_: Annotated[bool | None, _option("Run the network through torch.compile. [False]", "--compile")] = None,
    channels_last: Annotated[
        bool | None, _option("Keep images in memory channels last. [False]", "--channels-last")
    ] = None,
    on_collapse: Annotated[Text, _option("When embeddings collapse: warn, lower the rate, or stop. [warn]")] = None,
    on_nonfinite: Annotated[
        Text, _option("At a loss or gradient that is no number: skip, lower the rate, or stop. [lower]")
    ] = None,
    track: Annotated[
        list[str] | None, _option("Also to tensorboard, wandb or mlflow; may be given several times [none]")
    ] = None,
    checkpoint_every: Annotated[Number, _option("Steps between checkpoints [an epoch, and five minutes].")] = None,
    cache: Annotated[Text, _option("Keep decoded images and features: auto, off, or a folder. [auto]")] = None,
    cache_limit: Annotated[Real, _option("Gigabytes that each may take. [20.0]")] = None,
    workers: Annotated[Number, _option("Processes that prepare batches. [0]")] = None,
    seed: Annotated[Number, _option("Same seed, same run on the same machine. [0]")] = None,
    device: Annotated[Text, _option("auto, cpu, cuda or cuda:N. [auto]")] = None,
    devices: Annotated[Number, _option("Processes, each with a device of its own. [1]")] = None,
    config: Annotated[File, _option("Options from a YAML, TOML or JSON file.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")] = Path("model"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in -o.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the model or the interrupted run in -o.")] = False,
    overfit: Annotated[
        Number, _option("Only check that training can learn the first N pairs by heart; no model is written.")
    ] = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only look for a learning rate; a plot and its figures go to -o.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a verifier by transfer: baseline first, the best of all evaluations is saved.

    Example: siamese train faces/ --encoder mobilefacenet@weights.ckpt --loss contrastive -o model/
    """
    with talking(quiet=quiet):
        from siamese.config import TrainConfig, make_train_config
        from siamese.config_file import read_config_file
        from siamese.errors import OptionError
        from siamese.training.processes import is_first, start_processes, started_by_torchrun

        values = {} if config is None else read_config_file(config)
        values |= _given(context.params, TrainConfig.model_fields)
        where = "the command line" if config is None else f"{config} and the command line"
        resolved = make_train_config(values, where)
        if resolved.devices > 1 and not started_by_torchrun():
            raise typer.Exit(start_processes(resolved.devices, sys.argv[1:]))
        if overfit is not None and find_lr:
            raise OptionError("--overfit and --find-lr: each is a check of its own; give one of them")
        if (overfit is not None or find_lr) and (resume or force):
            raise OptionError("--resume and --force: are for a run, and a check starts none; leave them out")
        data_of, text_of = _work(resolved, output, overfit, find_lr=find_lr, resume=resume, force=force)
    if is_first():
        emit(data_of, text_of, as_json=json)


def _work(
    config: "TrainConfig", output: Path, overfit: int | None, *, find_lr: bool, resume: bool, force: bool
) -> tuple[dict[str, Any], str]:
    """Train, or check what was asked for; what to print."""
    from siamese.errors import OptionError
    from siamese.training import checks, fit

    if find_lr:
        found, (figures, plot) = checks.find_learning_rate(config, output)
        rate = "no suggestion" if found.suggestion is None else f"learning rate {found.suggestion:.2g}"
        return {"lr": found.suggestion, "reason": found.reason, "csv": str(figures), "plot": str(plot)}, (
            f"{rate}: {found.reason}\n{plot}"
        )
    if overfit is not None:
        verdict = checks.check_overfit(config, overfit)
        if not verdict.passed:
            raise OptionError(verdict.line)
        return {"passed": True, "start": verdict.start, "end": verdict.end, "right": verdict.right}, verdict.line
    result = fit.train(config, output, resume=resume, force=force)
    return _as_json(result), _as_text(result)


def _given(params: dict[str, Any], names: Any) -> dict[str, Any]:
    named = {name.removesuffix("_"): value for name, value in params.items()}
    given = {name: value for name, value in named.items() if name in names and value is not None and value != []}
    if "input_size" in given:
        given["input_size"] = parse_size(given["input_size"])
    return given


def _as_json(result: "TrainResult") -> dict[str, Any]:
    return {
        "model_folder": str(result.model_folder),
        "baseline": result.baseline.model_dump(exclude_none=True),
        "best": {**result.best.model_dump(exclude_none=True), "epoch": result.best_epoch},
        "epochs": result.epochs,
        "stopped": result.stopped,
        "device": result.device,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "cached_features": result.cached,
        "events": result.events,
    }


def _as_text(result: "TrainResult") -> str:
    baseline, best = result.baseline, result.best
    shares = [("accuracy", baseline.accuracy, best.accuracy), ("EER", baseline.eer, best.eer)]
    for name, before, now in (("top-1", baseline.top1, best.top1), ("top-5", baseline.top5, best.top5)):
        shares += [] if before is None or now is None else [(name, before, now)]
    auc = ("AUC", f"{baseline.auc:.4f}", f"{best.auc:.4f}", f"{best.auc - baseline.auc:+.4f}")
    figures = table(("validation", "baseline", "best", "change"), [auc, *(_row(*share) for share in shares)])
    which = f"epoch {result.best_epoch} of {result.epochs}" if result.best_epoch else "the untouched encoder"
    stopped = ", stopped by hand (go on with --resume)" if result.stopped else ""
    return (
        f"{figures}\nbest: {which}{stopped}\n{result.model_folder} on {result.device}, {result.seconds:.0f} s, "
        f"{result.images_per_second:.0f} images/s"
    )


def _row(name: str, before: float, now: float) -> tuple[str, ...]:
    return name, percent(before), percent(now), f"{100 * (now - before):+.2f}"
