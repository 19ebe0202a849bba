import logging
import re
from typing import Any

import pytest

from siamese.config import make_train_config
from siamese.errors import OptionError
from siamese.images.input_spec import InputSpec
from siamese.losses.registry import parse_objective
from siamese.training.build import batch_kind, build_network, default_head, is_verifier

from .conftest import TinyEncoder


def verifier() -> TinyEncoder:
    encoder = TinyEncoder()
    encoder.pretrained = True
    encoder.input_spec = InputSpec(size=(112, 112), alignment="arcface-112")
    return encoder


def pretrained() -> TinyEncoder:
    encoder = TinyEncoder()
    encoder.pretrained = True
    return encoder


@pytest.mark.parametrize(
    ("loss", "batches", "kind"),
    [
        ("contrastive", "auto", "pairs"),
        ("triplet", "auto", "triplets"),
        ("quadruplet", "auto", "quadruplets"),
        ("contrastive+triplet", "auto", "triplets"),  # a triplet holds two pairs
        ("contrastive", "tuples", "pairs"),
        ("triplet", "identities", "identities"),
        ("triplet+mining=hard", "auto", "identities"),
        ("contrastive+memory=64", "auto", "identities"),
        ("arcface", "auto", "identities"),
        ("sup_con+contrastive", "auto", "identities"),
    ],
)
def test_batches_are_made_of_what_the_loss_needs(loss: str, batches: str, kind: str) -> None:
    config = make_train_config({"data": "d", "loss": loss, "batches": batches})
    assert batch_kind(config, parse_objective(loss)) == kind


@pytest.mark.parametrize("loss", ["triplet+mining=hard", "arcface"])
def test_tuples_cannot_serve_a_loss_that_chooses_among_identities(loss: str) -> None:
    config = make_train_config({"data": "d", "loss": loss, "batches": "tuples"})
    message = f"--batches tuples: --loss {loss} chooses among the identities of a batch; use --batches identities"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        batch_kind(config, parse_objective(loss))


def test_only_weights_trained_to_verify_make_a_verifier() -> None:
    random = verifier()
    random.pretrained = False
    assert [is_verifier(encoder) for encoder in (verifier(), pretrained(), random)] == [True, False, False]


@pytest.mark.parametrize(
    ("encoder", "values", "head", "frozen"),
    [
        (verifier, {}, "identity-start", 2),
        (pretrained, {}, "mlp", 2),
        (TinyEncoder, {}, "mlp", 0),
        (pretrained, {"freeze": "1", "head": "linear"}, "linear", 1),
        (pretrained, {"freeze": "none", "head": "none"}, "none", 0),
    ],
)
def test_defaults_hang_on_the_encoder(encoder: Any, values: dict[str, str], head: str, frozen: int) -> None:
    config = make_train_config({"data": "d", **values})
    network = build_network(encoder(), config)
    assert (network.head_name, network.frozen_stages) == (head, frozen)
    assert "head" in values or default_head(encoder()) == head


def test_a_pair_head_is_built_as_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="siamese")
    config = make_train_config({"data": "d", "head": "none", "pair_head": "difference", "pair_hidden": 5})
    network = build_network(pretrained(), config)
    assert network.pair_head is not None
    assert sum(parameter.numel() for parameter in network.pair_head.parameters() if parameter.requires_grad) > 0
    assert "2 of 2 stages frozen; head none, pair head difference, embedding of 12;" in caplog.messages[-1]


def test_nothing_to_train_is_refused() -> None:
    config = make_train_config({"data": "d", "head": "none", "freeze": "all"})
    message = r"^--freeze all with --head none: nothing is left to train; unfreeze or add a head$"
    with pytest.raises(OptionError, match=message):
        build_network(TinyEncoder(), config)
