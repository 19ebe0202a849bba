"""Typed configuration of a training run; unknown keys raise, and what was resolved is saved beside the result."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from siamese.errors import OptionError, unknown_name
from siamese.idle_options import check_no_option_is_idle


class TrainConfig(BaseModel):
    """Everything that decides a training run.

    Attributes:
        data: images in any layout that `read_catalog` knows, a manifest, or a pair file that then is `pairs`; paths
            in pair files are relative to it, or to its folder.
        pairs: pair, triplet or quadruplet file to train on; None makes what the loss needs from `data`.
        val_pairs: pair file to validate on; None carves `val_share` of the identities out.
        same_label: the value of the label column of `pairs` and `val_pairs` that means same; None: 1 or true.
        val_share: share of identities for validation, at least two of them.
        val_images: images of each identity to hold out for validation, instead of whole identities: for classifying
            the identities that were trained on.
        num_pairs: training pairs (triplets, quadruplets) to make; None for as many as there are images.
        ratio: genuine to impostor among the training pairs that are made; None for 1:9 when the encoder already is a
            verifier, else 1:1.
        identity_depth: levels of folders that name an identity.
        identities: text file with the identities to use; None for all.
        encoder: `NAME`, `NAME@TAG`, `NAME@FILE`, `openvino:PATH.xml`, `bundled`, or a model folder.
        input_size: height and width of the encoder's input; None for its own.
        head: projection head; None for `identity-start` when the encoder already is a verifier, else `mlp`.
        embedding_dim: width of the embedding; None for the head's default.
        pair_head: what the pair head sees of two embeddings, joined by `+`; None for the cosine alone.
        pair_hidden: width of the pair head's hidden layer; 0 for logistic regression.
        pair_dropout: share of the hidden layer that is dropped in training.
        teacher: the model whose embeddings the loss `distill` learns: a model folder, `NAME@TAG`, `NAME@FILE` or
            `openvino:PATH.xml`; None without that loss.
        loss: the objective; None for `pairwise` with a pair head, else `contrastive`.
        freeze: `all`, `none` or a number of stages; None for `all` with pretrained weights, `none` with random ones.
        batches: `tuples` of pairs, triplets or quadruplets; `identities` for some images each of some identities;
            `auto` for what the loss needs.
        epochs: passes over the training pairs, or over as many images as there are.
        batch_size: pairs, triplets or quadruplets a step; images a step in batches of identities.
        images_per_identity: images of an identity in a batch of identities.
        lr: learning rate at the start of the schedule, or at its peak.
        layer_decay: learning rate of an encoder stage as a multiple of that of the stage above; the head has `lr`.
        loss_lr: learning rate of what the loss itself learns (proxies, class weights, scales), as a multiple of `lr`.
        weight_decay: of all weights but biases and norms.
        optimizer: `adamw`, `adam` or `sgd`.
        momentum: of `sgd`.
        schedule: of the learning rate: `cosine`, `one-cycle`, `plateau`, `step` or `constant`.
        warmup: epochs over which the learning rate rises linearly from near zero; may be a fraction.
        step_epochs: epochs between two falls of the schedule `step`, or without progress before `plateau` falls.
        gamma: factor of each such fall.
        clip: largest norm of the gradient; None for none.
        accumulate: batches whose gradients make one step.
        ema: decay of the moving average of the weights that is evaluated and saved; None for the weights themselves.
        patience: epochs without a better evaluation before training ends; None for no early end.
        select: what makes an evaluation the best: `auc` on the validation pairs, `top1` of the identity head, `auto`
            for the latter where `val_images` holds images out for it.
        augment: augmentation preset.
        val_augment: `distortion` validates on each pair as it is, with either, and with both images damaged; `none`
            as it is alone; `auto` does what `augment` says.
        views: augmented views of each image that training draws from; None for ever new ones, or, from cached
            features, one an epoch up to 8.
        features: `cached` computes the features of a frozen encoder once, `live` at every step, `auto` caches where
            the whole encoder is frozen.
        align: `auto`, `yes` or `no`: bring raw photographs to the encoder's template.
        face: which face of an image with several: `auto`, `largest` or `center`.
        precision: `auto` (bf16 on a GPU, float32 on a CPU), `float32`, `bf16` or `fp16`; losses are float32 always.
        compile: run the network through `torch.compile`.
        channels_last: keep images and the encoder in memory channels last.
        on_collapse: what to do when embeddings fall together: `warn`, `lower` the learning rate, or `stop`.
        on_nonfinite: what to do at a loss or gradient that is not finite: `skip` the batch, `lower` the learning rate
            too, or `stop`.
        track: where figures go beside the CSV files: `tensorboard`, `wandb`, `mlflow`.
        checkpoint_every: steps between checkpoints; None for one an epoch and one every five minutes.
        cache: decoded images and features kept from run to run: `auto` in the user's cache folder, `off`, or in a
            folder.
        cache_limit: gigabytes (10^9 bytes) that each kind may take; those not used for longest give way.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        devices: processes, each with a device of its own, on this machine.
        workers: processes that prepare batches; 0 for the main one.
        seed: of pairs, weights, order and augmentation.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    data: Path
    pairs: Path | None = None
    val_pairs: Path | None = None
    same_label: str | None = None
    val_share: float = Field(default=0.1, gt=0, lt=1)
    val_images: int | None = Field(default=None, ge=1)
    num_pairs: int | None = Field(default=None, ge=1)
    ratio: str | None = None
    identity_depth: int = Field(default=1, ge=1)
    identities: Path | None = None
    encoder: str = "inception_resnet_v1"
    input_size: tuple[int, int] | None = None
    head: str | None = None
    embedding_dim: int | None = Field(default=None, ge=1)
    pair_head: str | None = None
    pair_hidden: int = Field(default=0, ge=0)
    pair_dropout: float = Field(default=0.0, ge=0, lt=1)
    teacher: str | None = None
    loss: str | None = None
    freeze: str | None = None
    batches: Literal["auto", "tuples", "identities"] = "auto"
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)
    images_per_identity: int = Field(default=4, ge=2)
    lr: float = Field(default=1e-4, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    loss_lr: float = Field(default=10.0, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["cosine", "one-cycle", "plateau", "step", "constant"] = "cosine"
    warmup: float = Field(default=0.0, ge=0)
    step_epochs: int = Field(default=3, ge=1)
    gamma: float = Field(default=0.1, gt=0, lt=1)
    clip: float | None = Field(default=None, gt=0)
    accumulate: int = Field(default=1, ge=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    select: Literal["auto", "auc", "top1"] = "auto"
    augment: str = "light"
    val_augment: Literal["auto", "none", "distortion"] = "auto"
    views: int | None = Field(default=None, ge=1)
    features: Literal["auto", "cached", "live"] = "auto"
    align: Literal["auto", "yes", "no"] = "auto"
    face: Literal["auto", "largest", "center"] = "auto"
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    compile: bool = False
    channels_last: bool = False
    on_collapse: Literal["warn", "lower", "stop"] = "warn"
    on_nonfinite: Literal["skip", "lower", "stop"] = "lower"
    track: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    checkpoint_every: int | None = Field(default=None, ge=1)
    cache: Literal["auto", "off"] | Path = "auto"
    cache_limit: float = Field(default=20.0, gt=0)
    device: str = "auto"
    devices: int = Field(default=1, ge=1)
    workers: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @property
    def objective(self) -> str:
        """The objective as written, or the default: a pair head learns by its own logit."""
        return self.loss or ("pairwise" if self.pair_head else "contrastive")


def make_train_config(values: dict[str, Any], origin: str = "options") -> TrainConfig:
    """Check values and complete them with the defaults.

    Args:
        values: by the names of `TrainConfig`.
        origin: where they came from, for the message.

    Raises:
        OptionError: an unknown key (with the nearest one), a value out of range, or an option that the others leave
            nothing to do.
    """
    for key in values:
        if key not in TrainConfig.model_fields:
            raise unknown_name(f"key in {origin}:", key, TrainConfig.model_fields)
    try:
        config = TrainConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        given = f" {values[key]!r}" if key in values else ""
        raise OptionError(f"--{key.replace('_', '-')}{given}: {first['msg'].lower()} (from {origin})") from error
    check_no_option_is_idle(config)
    return config
