"""A network on a graph of OpenVINO as one graph: torch cannot look into it, so what follows it is put behind it."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from siamese.encoders.encoder import Encoder
from siamese.encoders.headed_encoder import HeadedEncoder
from siamese.encoders.openvino_encoder import OpenVinoEncoder
from siamese.inference.export_rewrites import rewritten
from siamese.model.network import SiameseNetwork
from siamese.openvino_library import TELEMETRY, left_out, openvino


def has_openvino_encoder(network: nn.Module) -> bool:
    """Whether a network begins with a graph of OpenVINO."""
    return isinstance(network, SiameseNetwork) and isinstance(_trunk(network.encoder), OpenVinoEncoder)


def join_graphs(network: SiameseNetwork, examples: int) -> Any:
    """The graph of OpenVINO that a network begins with, and all that follows it, for any number of images.

    Args:
        network: on the CPU, in evaluation.
        examples: rows that the rest is traced with.

    Raises:
        WeightsError: the graph runs on a number of images of its own only.
    """
    trunk: Any = _trunk(network.encoder)
    graph = trunk.batch_graph()
    with warnings.catch_warnings(action="ignore"), left_out(TELEMETRY):
        from openvino.tools.ovc import convert_model

        features = torch.zeros(examples, trunk.feature_dim)
        rest = convert_model(
            rewritten(_Rest(network).eval()), example_input=(features,), input=[[-1, trunk.feature_dim]]
        )
    rest.inputs[0].replace(graph.outputs[0].get_node().input_value(0))
    return openvino().Model(rest.get_results(), graph.get_parameters(), "network")


class _Rest(nn.Module):
    """From the features of the graph to embeddings."""

    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self._network = network

    def forward(self, features: Tensor) -> Tensor:
        return self._network.project(_after_trunk(self._network.encoder, features))


def _trunk(encoder: Encoder) -> Encoder:
    return _trunk(encoder.trunk) if isinstance(encoder, HeadedEncoder) else encoder


def _after_trunk(encoder: Encoder, features: Tensor) -> Tensor:
    """The features of an encoder, given those of its innermost trunk."""
    if not isinstance(encoder, HeadedEncoder):
        return features
    given: Tensor = encoder.head(_after_trunk(encoder.trunk, features))
    return given
