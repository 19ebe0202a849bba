"""Help texts against what they speak of."""

import re

import pytest

from siamese.config import TrainConfig

from .conftest import Siamese

# Decided by the encoder or the data, and described in words.
DESCRIBED = {
    *("data", "pairs", "val_pairs", "same_label", "num_pairs", "ratio", "identities"),
    *("input_size", "head", "embedding_dim", "freeze", "pair_head", "loss", "val_images", "views"),
    *("clip", "ema", "patience", "checkpoint_every", "track", "teacher"),
}


@pytest.mark.parametrize("name", sorted(set(TrainConfig.model_fields) - DESCRIBED))
def test_the_help_of_train_states_the_default_that_holds(siamese: Siamese, name: str) -> None:
    text = " ".join(siamese("train", "--help").out.split())
    option = f"--{name.replace('_', '-')} "
    kind = "" if TrainConfig.model_fields[name].annotation is bool else r"<\w+>"
    stated = re.search(rf"{option}{kind}.*?\[([^\[\]<>]*)\](?= --|$)", text)
    assert stated is not None, f"{option}states no default"
    assert stated.group(1) == str(TrainConfig.model_fields[name].default)


def test_every_option_of_a_run_can_be_given_on_the_command_line(siamese: Siamese) -> None:
    text = siamese("train", "--help").out
    missing = [name for name in TrainConfig.model_fields if f"--{name.replace('_', '-')}" not in text]
    assert missing == ["data"], "data is the argument"
