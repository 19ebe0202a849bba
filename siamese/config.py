"""Typed configuration of a training run; unknown keys raise, and what was resolved is saved beside the result."""

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from siamese.errors import OptionError, unknown_name


class TrainConfig(BaseModel):
    """Everything that decides a training run.

    Attributes:
        data: images in any layout that `read_catalog` knows, a manifest, or a pair file that then is `pairs`; paths
            in pair files are relative to it, or to its folder.
        pairs: pair or triplet file to train on; None makes pairs from `data`.
        val_pairs: pair file to validate on; None carves `val_share` of the identities out.
        same_label: the value of the label column of `pairs` and `val_pairs` that means same; None: 1 or true.
        val_share: share of identities for validation, at least two of them.
        num_pairs: training pairs (or triplets) to make; None for as many as there are images.
        ratio: genuine to impostor among the training pairs that are made; None for 1:9 when the encoder already is a
            verifier, else 1:1.
        identity_depth: levels of folders that name an identity.
        identities: text file with the identities to use; None for all.
        encoder: `NAME`, `NAME@TAG` or `NAME@FILE`.
        input_size: height and width of the encoder's input; None for its own.
        head: projection head; None for `identity-start` when the encoder already is a verifier, else `mlp`.
        embedding_dim: width of the embedding; None for the head's default.
        loss: the objective.
        freeze: `all`, `none` or a number of stages; None for `all` with pretrained weights, `none` with random ones.
        epochs: passes over the training pairs.
        batch_size: pairs (or triplets) a step.
        lr: AdamW's learning rate at the start of the cosine.
        weight_decay: AdamW's decoupled weight decay.
        augment: augmentation preset.
        align: `auto`, `yes` or `no`: bring raw photographs to the encoder's template.
        face: which face of an image with several: `auto`, `largest` or `center`.
        precision: `auto` (bf16 on a GPU, float32 on a CPU), `float32`, `bf16` or `fp16`.
        cache: decoded images kept from run to run: `auto` in the user's cache folder, `off`, or in a folder.
        cache_limit: gigabytes (10^9 bytes) that they may take; those not used for longest give way.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: processes that prepare batches; 0 for the main one.
        seed: of pairs, weights, order and augmentation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    data: Path
    pairs: Path | None = None
    val_pairs: Path | None = None
    same_label: str | None = None
    val_share: float = Field(default=0.1, gt=0, lt=1)
    num_pairs: int | None = Field(default=None, ge=1)
    ratio: str | None = None
    identity_depth: int = Field(default=1, ge=1)
    identities: Path | None = None
    encoder: str = "inception_resnet_v1"
    input_size: tuple[int, int] | None = None
    head: str | None = None
    embedding_dim: int | None = Field(default=None, ge=1)
    loss: str = "contrastive"
    freeze: str | None = None
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    augment: str = "light"
    align: Literal["auto", "yes", "no"] = "auto"
    face: Literal["auto", "largest", "center"] = "auto"
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    cache: Literal["auto", "off"] | Path = "auto"
    cache_limit: float = Field(default=20.0, gt=0)
    device: str = "auto"
    workers: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)


def make_train_config(values: dict[str, Any], origin: str = "options") -> TrainConfig:
    """Check values and complete them with the defaults.

    Args:
        values: by the names of `TrainConfig`.
        origin: where they came from, for the message.

    Raises:
        OptionError: an unknown key (with the nearest one) or a value out of range.
    """
    for key in values:
        if key not in TrainConfig.model_fields:
            raise unknown_name(f"key in {origin}:", key, TrainConfig.model_fields)
    try:
        return TrainConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        given = f" {values[key]!r}" if key in values else ""
        raise OptionError(f"--{key.replace('_', '-')}{given}: {first['msg'].lower()} (from {origin})") from error


def read_config_file(path: Path) -> dict[str, Any]:
    """Read options from a TOML or JSON file.

    Raises:
        OptionError: missing, or not a table of options.
    """
    form = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if form == "JSON" else tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"--config {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # both parsers' errors, and bytes that are no UTF-8
        raise OptionError(f"--config {path}: not valid {form} ({error})") from error
    if not isinstance(values, dict):
        raise OptionError(f"--config {path}: expected a table of options, found a {type(values).__name__}")
    return values
