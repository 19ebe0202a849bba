"""What a run trains, and on which batches: what the configuration chooses, and defaults that hang on the encoder."""

from siamese.config import TrainConfig
from siamese.encoders.encoder import Encoder
from siamese.errors import OptionError
from siamese.losses.registry import ObjectiveSpec
from siamese.model.network import SiameseNetwork
from siamese.progress import log
from siamese.training.pairs import BatchKind
from siamese.training.tuple_files import TupleKind

_KINDS: tuple[TupleKind, ...] = ("quadruplets", "triplets", "pairs")


def is_verifier(encoder: Encoder) -> bool:
    """Whether an encoder verifies well as it comes."""
    # An aligned face template means that the weights were trained to verify; ImageNet's were not.
    return encoder.pretrained and (encoder.verifies or encoder.input_spec.alignment != "none")


def build_network(encoder: Encoder, config: TrainConfig, *, like: int | None = None) -> SiameseNetwork:
    """The network that a run trains, its frozen stages frozen.

    Args:
        encoder: what it is built on.
        config: of the run.
        like: width of a teacher's embeddings, which is the student's too where none is asked for and the head has
            one; None without a teacher.

    Raises:
        OptionError: a head or a number of stages that is not possible, or nothing left to train.
    """
    head = config.head or default_head(encoder)
    network = SiameseNetwork(
        encoder,
        head,
        config.embedding_dim or (None if head == "none" else like),
        pair_head=config.pair_head,
        pair_hidden=config.pair_hidden,
        pair_dropout=config.pair_dropout,
    )
    freeze = config.freeze or ("all" if encoder.pretrained else "none")
    network.freeze(freeze)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    if not trained:
        raise OptionError(f"--freeze {freeze} with --head {head}: nothing is left to train; unfreeze or add a head")
    log.info(
        "encoder %s, %d of %d stages frozen; head %s%s, embedding of %d; %.2f million parameters train",
        *(config.encoder, network.frozen_stages, len(encoder.stages()), head),
        f", pair head {config.pair_head}" if config.pair_head else "",
        *(network.embedding_dim, trained / 1e6),
    )
    return network


def default_head(encoder: Encoder) -> str:
    """The projection head where none is named."""
    return "identity-start" if is_verifier(encoder) else "mlp"


def batch_kind(config: TrainConfig, spec: ObjectiveSpec) -> BatchKind:
    """What batches are made of: what the loss needs, unless identities are asked for.

    A student learns from every image there is, and so does a classifier beside the teacher: then of any images.

    Raises:
        OptionError: tuples are asked for, and the loss needs identities, or no tuples at all; it needs a teacher, and
            there is none.
    """
    if spec.teacher and config.teacher is None:
        raise OptionError(
            f"--loss {spec.text}: distill learns from a teacher, and none is given; add --teacher MODEL"
        )
    if config.batches == "tuples" and spec.needs == {"teacher"}:
        raise OptionError(f"--batches tuples: --loss {spec.text} has no use for them; leave it out")
    if config.batches == "tuples" and spec.mines:
        raise OptionError(
            f"--batches tuples: --loss {spec.text} chooses among the identities of a batch; use --batches identities"
        )
    if config.batches == "auto" and spec.teacher and spec.looks_at_images:
        return "images"
    if config.batches == "identities" or spec.mines:
        return "identities"
    return next(kind for kind in _KINDS if kind in spec.needs)
