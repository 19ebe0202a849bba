"""The model folder: what training hands back, complete in itself.

`model.safetensors` holds the weights, `model.json` everything needed to use them. Nothing in it is ever unpickled.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from siamese.atomic import atomic_path, write_text
from siamese.encoders.checksum import sha256_of
from siamese.encoders.model_files import WAITING, WEIGHTS, weights_file
from siamese.encoders.registry import create_untrained
from siamese.errors import ModelError, SiameseError
from siamese.heads.identity import IdentityHead
from siamese.heads.pair import PairHead
from siamese.model.card import CARD, EncoderCard, ModelCard, PairHeadCard, read_card
from siamese.model.network import SiameseNetwork

# The largest number that 16 bits hold.
_HALF_MAX = torch.finfo(torch.float16).max


def describe_encoder(network: SiameseNetwork) -> EncoderCard:
    """The encoder's part of a model card."""
    encoder = network.encoder
    return EncoderCard(
        name=encoder.name, feature_dim=encoder.feature_dim, input_spec=encoder.input_spec, weights=encoder.weights
    )


def describe_pair_head(network: SiameseNetwork) -> PairHeadCard | None:
    """The pair head's part of a model card; None where embeddings are compared by their cosine."""
    head = network.pair_head
    return None if head is None else PairHeadCard(features=head.name, hidden=head.hidden, dropout=head.dropout)


def save_model(folder: Path, network: SiameseNetwork, card: ModelCard, *, half: bool = False) -> None:
    """Write a model folder.

    At every moment the folder holds one whole model, the old one or the new one, also when the writer is killed: the
    card names the hash of its weights, and those of either lie in a file of their own until it has been replaced.

    Args:
        folder: to write; created where missing.
        network: stays as it is.
        card: its SHA-256 is filled in.
        half: write kernels and matrices in 16 bits, rounded to nearest, which halves the file. Vectors and buffers
            (biases, norms and their statistics) stay whole: they are small, and statistics span many decades. A
            loaded network is in float32 either way.

    Raises:
        ValueError: the card names other heads than the network has, so that the folder could not be loaded.
        ModelError: a weight is too large for 16 bits.
    """
    _check_heads(network, card)
    _settle(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        state |= _halved({name: state[name] for name, parameter in network.named_parameters() if parameter.ndim > 1})
    with atomic_path(folder / WAITING) as temporary:
        save_file(state, temporary)
        digest = sha256_of(temporary)
    write_text(folder / CARD, card.model_copy(update={"sha256": digest}).model_dump_json(indent=2) + "\n")
    (folder / WAITING).replace(folder / WEIGHTS)


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in state.items():
        largest = float(tensor.abs().max()) if tensor.numel() else 0.0
        if not largest <= _HALF_MAX:
            raise ModelError(
                f"{name}: holds {largest:g}, and 16 bits hold at most {_HALF_MAX:g}; save the model in float32"
            )
    return {name: tensor.half() for name, tensor in state.items()}


def _check_heads(network: SiameseNetwork, card: ModelCard) -> None:
    if card.pair_head != (built := describe_pair_head(network)):
        raise ValueError(f"the card's pair head is {card.pair_head}, the network's {built}")
    head = network.identity_head
    named = None if card.identities is None else (len(card.identities), card.subcentres)
    found = None if head is None else (head.identities, head.subcentres)
    if named != found:
        raise ValueError(f"identities and sub-centres: the card has {named}, the network {found}")


def _settle(folder: Path) -> None:
    """Put weights in their place that a killed writer left waiting, if the card is theirs."""
    waiting = folder / WAITING
    try:
        if waiting.is_file() and sha256_of(waiting) == read_card(folder).sha256:
            waiting.replace(folder / WEIGHTS)
    except ModelError:
        return  # no card, or none of ours: nothing that could be lost


def load_model(folder: Path) -> tuple[SiameseNetwork, ModelCard]:
    """Load a model folder: the network in evaluation on the CPU, and its card.

    Raises:
        ModelError: a file is missing or changed, or the weights do not fit the card.
    """
    card = read_card(folder)
    path = weights_file(folder, card.sha256)
    try:
        network = _untrained(card)
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, SiameseError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: the weights do not fit {CARD} ({reason}); copy the folder again") from error
    network.encoder.weights = card.encoder.weights
    network.encoder.pretrained = True
    return network.eval(), card


def _untrained(card: ModelCard) -> SiameseNetwork:
    """The network that a card describes, with random weights."""
    encoder = create_untrained(card.encoder.name, card.encoder.input_spec)
    network = SiameseNetwork(encoder, card.head, card.embedding_dim)
    pair = card.pair_head
    if pair is not None:
        network.pair_head = PairHead(card.embedding_dim, pair.features, pair.hidden, pair.dropout)
    if card.identities is not None:
        network.identity_head = IdentityHead(card.embedding_dim, len(card.identities), subcentres=card.subcentres)
    return network
