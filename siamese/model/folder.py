"""The model folder: what training hands back, complete in itself.

`model.safetensors` holds the weights, `model.json` everything needed to use them. Nothing in it is ever unpickled.
"""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from siamese.atomic import atomic_path, write_text
from siamese.encoders.checksum import sha256_of
from siamese.encoders.registry import create_untrained
from siamese.errors import ModelError, SiameseError
from siamese.heads.identity import IdentityHead
from siamese.heads.pair import PairHead
from siamese.model.card import CARD, EncoderCard, ModelCard, PairHeadCard, read_card
from siamese.model.network import SiameseNetwork

WEIGHTS = "model.safetensors"
# New weights wait here until the card that names them is there: then, and only then, the model is the new one.
WAITING = "model-new.safetensors"


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


def save_model(folder: Path, network: SiameseNetwork, card: ModelCard) -> None:
    """Write a model folder.

    At every moment the folder holds one whole model, the old one or the new one, also when the writer is killed: the
    card names the hash of its weights, and those of either lie in a file of their own until it has been replaced.

    Raises:
        ValueError: the card names other heads than the network has, so that the folder could not be loaded.
    """
    _check_heads(network, card)
    _settle(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(folder / WAITING) as temporary:
        save_file(state, temporary)
        digest = sha256_of(temporary)
    write_text(folder / CARD, card.model_copy(update={"sha256": digest}).model_dump_json(indent=2) + "\n")
    (folder / WAITING).replace(folder / WEIGHTS)


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
    path = folder / WAITING  # of a writer that was killed with the last step before it, or at work just now
    if not path.is_file() or sha256_of(path) != card.sha256:
        path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{folder}: no {WEIGHTS}; the model folder is incomplete, copy it again")
    digest = sha256_of(path)
    if digest != card.sha256:
        raise ModelError(
            f"{path}: changed since it was saved (SHA-256 {digest[:12]}..., expected {card.sha256[:12]}...); "
            "copy the model folder again"
        )
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
