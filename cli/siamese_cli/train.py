"""`siamese train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.options import Json, Quiet, parse_size
from siamese_cli.output import emit, percent, table, talking

if TYPE_CHECKING:
    from siamese.training.fit import TrainResult

# Options are None unless given, so that a configuration file can be told from the command line; the defaults live in
# siamese.config.TrainConfig, and a test holds the help texts against them.


def train(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(help="Images by identity in any known layout, a manifest, or a pair file.")],
    pairs: Annotated[Path | None, typer.Option(help="Pair or triplet file to train on [made from DATA].")] = None,
    val_pairs: Annotated[Path | None, typer.Option(help="Pair file to validate on [identities carved out].")] = None,
    same_label: Annotated[
        str | None, typer.Option(help="Value of the label column that means same [1 or true].")
    ] = None,
    val_share: Annotated[float | None, typer.Option(help="Share of identities carved out. [0.1]")] = None,
    num_pairs: Annotated[int | None, typer.Option(help="Pairs or triplets to make [as many as images].")] = None,
    ratio: Annotated[
        str | None, typer.Option(help="Genuine to impostor pairs to make [1:9 on a face verifier, else 1:1].")
    ] = None,
    identity_depth: Annotated[int | None, typer.Option(help="Levels of folders that name an identity. [1]")] = None,
    identities: Annotated[Path | None, typer.Option(help="Use only the identities in this text file.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="NAME, NAME@TAG, NAME@FILE or timm/NAME. [inception_resnet_v1]")
    ] = None,
    input_size: Annotated[str | None, typer.Option(help="N or HxW pixels [the encoder's own].")] = None,
    head: Annotated[
        str | None,
        typer.Option(help="identity-start, mlp, linear or none [identity-start on a face verifier, else mlp]."),
    ] = None,
    embedding_dim: Annotated[int | None, typer.Option(help="Width of the embedding [the head's own].")] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="contrastive, triplet, NAME+option=value, NAME:weight+NAME:weight. [contrastive]"),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(help="all, none or N stages from the input [all if pretrained, else none].")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pairs. [10]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs or triplets a step. [32]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of AdamW, annealed by a cosine. [0.0001]")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of AdamW. [1e-05]")] = None,
    augment: Annotated[str | None, typer.Option(help="none, light or standard. [light]")] = None,
    align: Annotated[str | None, typer.Option(help="auto, yes or no: align raw photographs. [auto]")] = None,
    face: Annotated[str | None, typer.Option(help="Which face of several: auto, largest or center. [auto]")] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto (bf16 on a GPU, float32 on a CPU), float32, bf16, fp16. [auto]")
    ] = None,
    cache: Annotated[
        str | None, typer.Option(help="Keep decoded images for later runs: auto, off, or a folder. [auto]")
    ] = None,
    cache_limit: Annotated[float | None, typer.Option(help="Gigabytes that they may take. [20.0]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare batches. [0]")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same run on the same machine. [0]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [auto]")] = None,
    config: Annotated[Path | None, typer.Option(help="Options from a TOML or JSON file.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write.")] = Path("model"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in -o.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the model or the interrupted run in -o.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a verifier by transfer: baseline first, the best of all evaluations is saved.

    Example: siamese train faces/ --encoder mobilefacenet@weights.ckpt --loss contrastive -o model/
    """
    with talking(quiet=quiet):
        from siamese.config import TrainConfig, make_train_config, read_config_file
        from siamese.training import fit

        values = {} if config is None else read_config_file(config)
        values |= _given(context.params, TrainConfig.model_fields)
        if input_size is not None:
            values["input_size"] = parse_size(input_size)
        where = "the command line" if config is None else f"{config} and the command line"
        result = fit.train(make_train_config(values, where), output, resume=resume, force=force)
    emit(_as_json(result), _as_text(result), as_json=json)


def _given(params: dict[str, Any], names: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name in names and value is not None}


def _as_json(result: "TrainResult") -> dict[str, Any]:
    return {
        "model_folder": str(result.model_folder),
        "baseline": result.baseline.model_dump(),
        "best": {**result.best.model_dump(), "epoch": result.best_epoch},
        "epochs": result.epochs,
        "stopped": result.stopped,
        "device": result.device,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
    }


def _as_text(result: "TrainResult") -> str:
    baseline, best = result.baseline, result.best
    figures = table(
        ("validation", "baseline", "best", "change"),
        [
            ("AUC", f"{baseline.auc:.4f}", f"{best.auc:.4f}", f"{best.auc - baseline.auc:+.4f}"),
            _row("accuracy", baseline.accuracy, best.accuracy),
            _row("EER", baseline.eer, best.eer),
        ],
    )
    which = f"epoch {result.best_epoch} of {result.epochs}" if result.best_epoch else "the untouched encoder"
    stopped = ", stopped by hand (go on with --resume)" if result.stopped else ""
    return (
        f"{figures}\nbest: {which}{stopped}\n{result.model_folder} on {result.device}, {result.seconds:.0f} s, "
        f"{result.images_per_second:.0f} images/s"
    )


def _row(name: str, before: float, now: float) -> tuple[str, ...]:
    return name, percent(before), percent(now), f"{100 * (now - before):+.2f}"
