"""MTCNN's nets as OpenVINO models, built layer by layer from facenet-pytorch's weights.

Built, not traced: facenet-pytorch need not be imported, and a layout that is not MTCNN's is noticed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.errors import WeightsError
from siamese.openvino_library import openvino

# Part of the key under which converted nets are kept: raise it with any change to what is built here.
CONVERSION = 1
# The weights of each net, in facenet-pytorch's folder `data`.
WEIGHT_FILES = {"proposal": "pnet.pt", "refinement": "rnet.pt", "output": "onet.pt"}
Weights = dict[str, NDArray[np.float32]]


def convert(name: str, path: Path) -> Any:
    """Build a net from its weights; needs torch, which reads them.

    Args:
        name: a key of `WEIGHT_FILES`.
        path: the file with facenet-pytorch's state dict.

    Returns:
        An `openvino.Model` from (N, 3, H, W) float32 to scores, offsets and, for `output`, landmarks; see
        `openvino_detector_nets`.

    Raises:
        WeightsError: the file cannot be read, or holds other weights.
    """
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        weights = {key: value.numpy() for key, value in loaded.items()}
    except Exception as error:  # torch raises whatever its unpickler meets
        raise WeightsError(f"{path}: cannot be read as weights of MTCNN; install facenet-pytorch anew") from error
    try:
        return BUILDERS[name](weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: not the weights of MTCNN's {name} net; install facenet-pytorch anew") from error


class _Layers:
    """Layers of one net, by the names their weights have."""

    def __init__(self, weights: Weights) -> None:
        self._ops = openvino().opset13
        self._weights = weights

    def input(self, side: int) -> Any:
        return self._ops.parameter([-1, 3, side, side], np.float32, name="images")

    def conv(self, x: Any, number: str) -> Any:
        kernel, bias = self._weights[f"conv{number}.weight"], self._weights[f"conv{number}.bias"]
        y = self._ops.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
        return self._ops.add(y, bias.reshape(1, -1, 1, 1))

    def prelu(self, x: Any, number: str) -> Any:
        return self._ops.prelu(x, self._weights[f"prelu{number}.weight"])

    def pool(self, x: Any, side: int) -> Any:
        # Rounded up: the last window may hang over the edge.
        return self._ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [side, side], "ceil").output(0)

    def flatten(self, x: Any) -> Any:
        """Features in the order of MTCNN's first implementation: column, row, channel."""
        return self._ops.reshape(self._ops.transpose(x, [0, 3, 2, 1]), [0, -1], special_zero=True)

    def dense(self, x: Any, number: str) -> Any:
        y = self._ops.matmul(x, self._weights[f"dense{number}.weight"], False, True)
        return self._ops.add(y, self._weights[f"dense{number}.bias"])

    def score(self, x: Any) -> Any:
        """Probability of the second class, a face."""
        return self._ops.gather(self._ops.softmax(x, 1), np.int64(1), np.int64(1))

    def model(self, images: Any, **outputs: Any) -> Any:
        results = []
        for name, output in outputs.items():
            output.output(0).set_names({name})
            results.append(self._ops.result(output))
        model = openvino().Model(results, [images], "mtcnn")
        # Names of its own choosing count on from one model to the next: the files would differ each time.
        for number, layer in enumerate(model.get_ordered_ops()):
            layer.set_friendly_name(f"{layer.get_type_name()}_{number}")
        return model


def _proposal(weights: Weights) -> Any:
    net = _Layers(weights)
    images = net.input(-1)
    x = net.pool(net.prelu(net.conv(images, "1"), "1"), 2)
    x = net.prelu(net.conv(x, "2"), "2")
    x = net.prelu(net.conv(x, "3"), "3")
    return net.model(images, scores=net.score(net.conv(x, "4_1")), offsets=net.conv(x, "4_2"))


def _refinement(weights: Weights) -> Any:
    net = _Layers(weights)
    images = net.input(24)
    x = net.pool(net.prelu(net.conv(images, "1"), "1"), 3)
    x = net.pool(net.prelu(net.conv(x, "2"), "2"), 3)
    x = net.prelu(net.conv(x, "3"), "3")
    x = net.prelu(net.dense(net.flatten(x), "4"), "4")
    return net.model(images, scores=net.score(net.dense(x, "5_1")), offsets=net.dense(x, "5_2"))


def _output(weights: Weights) -> Any:
    net = _Layers(weights)
    images = net.input(48)
    x = net.pool(net.prelu(net.conv(images, "1"), "1"), 3)
    x = net.pool(net.prelu(net.conv(x, "2"), "2"), 3)
    x = net.pool(net.prelu(net.conv(x, "3"), "3"), 2)
    x = net.prelu(net.conv(x, "4"), "4")
    x = net.prelu(net.dense(net.flatten(x), "5"), "5")
    return net.model(
        images, scores=net.score(net.dense(x, "6_1")), offsets=net.dense(x, "6_2"), landmarks=net.dense(x, "6_3")
    )


BUILDERS: dict[str, Callable[[Weights], Any]] = {
    "proposal": _proposal,
    "refinement": _refinement,
    "output": _output,
}
