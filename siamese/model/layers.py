"""Learning rates and weight decay by layer: what lies deeper changes more slowly."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from siamese.errors import OptionError
from siamese.model.network import SiameseNetwork


def parameter_groups(
    network: SiameseNetwork, lr: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: everything that trains, each parameter in one group.

    The heads learn at `lr`, the encoder's k-th stage from the top (0 is the last one) at lr * layer_decay^(k + 1):
    the discriminative fine-tuning of Howard and Ruder, ACL 2018, section 3.2. With a decay of 1 every rate is `lr`.
    Biases, gains of norms and other vectors (PReLU slopes) are not decayed: shrinking them regularises nothing.

    Args:
        network: with the stages frozen that shall not train; frozen parameters are left out.
        lr: learning rate of the heads, above 0.
        layer_decay: factor from a stage to the one below, in (0, 1].
        weight_decay: of matrices and kernels, from 0.

    Returns:
        Dicts with `params`, `lr`, `weight_decay` and a `name` of their own (`head`, `stage 6`, each also as
        `..., no decay`); heads first, then stages from the top, numbered from the input. None is empty.

    Raises:
        OptionError: a number is out of its range.
    """
    _check(lr, layer_decay, weight_decay)
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    heads = [parameter for parameter in network.parameters() if id(parameter) not in encoder]
    stages = network.encoder.stages()
    layers = [("head", heads)]
    layers += [(f"stage {number}", _parameters(stages[number])) for number in reversed(range(len(stages)))]
    spared = _spared(network)
    taken: set[int] = set()
    groups = []
    for depth, (name, parameters) in enumerate(layers):
        # A parameter shared by two layers goes with the upper one.
        trained = [each for each in dict.fromkeys(parameters) if each.requires_grad and id(each) not in taken]
        taken.update(map(id, trained))
        rate = {"lr": lr * layer_decay**depth}
        decayed = [each for each in trained if id(each) not in spared]
        others = [each for each in trained if id(each) in spared]
        groups.append({"params": decayed, **rate, "weight_decay": weight_decay, "name": name})
        groups.append({"params": others, **rate, "weight_decay": 0.0, "name": f"{name}, no decay"})
    return [group for group in groups if group["params"]]


def _parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


def _spared(network: nn.Module) -> set[int]:
    """Parameters without weight decay: vectors and single numbers, and those of norms over more than channels."""
    spared = {id(parameter) for parameter in network.parameters() if parameter.ndim <= 1}
    norms = (module for module in network.modules() if isinstance(module, nn.LayerNorm))
    return spared | {id(parameter) for parameter in _parameters(norms)}


def _check(lr: float, layer_decay: float, weight_decay: float) -> None:
    if not 0 < lr < math.inf:
        raise OptionError(f"--lr {lr:g}: expected a number above 0")
    if not 0 < layer_decay <= 1:
        raise OptionError(f"--layer-decay {layer_decay:g}: expected a factor above 0, up to 1")
    if not 0 <= weight_decay < math.inf:
        raise OptionError(f"--weight-decay {weight_decay:g}: expected 0 or more")
