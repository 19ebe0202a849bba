"""From a network to graphs that run without torch: OpenVINO's form and ONNX.

Both take images of any number, and both give what the network gives: unit embeddings, for a pair head the logit and
the similarity of two embeddings, and for an identity head the probabilities of the identities that it knows.
"""

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamese.errors import ModelError, OptionError
from siamese.heads.identity import IdentityHead
from siamese.heads.pair import PairHead
from siamese.inference.export_manifest import IDENTITY_HEAD, NETWORK, PAIR_HEAD, SUFFIX
from siamese.inference.export_openvino_encoder import has_openvino_encoder, join_graphs
from siamese.inference.export_rewrites import rewritten
from siamese.model.network import SiameseNetwork
from siamese.openvino_files import save_graph
from siamese.openvino_library import TELEMETRY, left_out, openvino

# More than one, or a graph might take the number for a constant.
EXAMPLES = 3
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class _PairGraph(nn.Module):
    def __init__(self, head: PairHead) -> None:
        super().__init__()
        self._head = head

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        logit = self._head(left, right)
        return logit, torch.tanh(logit / 2.0)


class _IdentityGraph(nn.Module):
    def __init__(self, head: IdentityHead) -> None:
        super().__init__()
        self._head = head

    def forward(self, embeddings: Tensor) -> Tensor:
        """What `IdentityHead.probabilities` gives, by one product for each subcentre.

        OpenVINO 2026.4 adds the bias to the wrong identities where it follows a maximum over a dimension, as the head
        takes it; a maximum of two tensors it leaves alone.
        """
        nearest, *others = (embeddings @ self._head.weight[:, place].T for place in range(self._head.subcentres))
        for other in others:
            nearest = torch.maximum(nearest, other)
        return torch.softmax(self._head.scale * nearest + self._head.bias, dim=1)


def check_packages(kind: str) -> None:
    """Refuse, before the work, a kind of export whose packages are not installed.

    Raises:
        OptionError: names the package.
    """
    if kind == "openvino":
        openvino()
        return
    for package in ONNX_PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise OptionError(
                f'--format onnx: the package {package} is not installed; pip install "siamese[onnx]"'
            ) from error


def write_graphs(network: SiameseNetwork, folder: Path, kind: str) -> list[str]:
    """Write the graphs of a network, in float32.

    Args:
        network: on the CPU, in evaluation.
        folder: gets `network.xml` and `.bin` or `network.onnx`, and the same of `pair_head` and `identity_head`
            where there are such.
        kind: `openvino` or `onnx`.

    Returns:
        Names of the files.

    Raises:
        ModelError: the network does something that the form cannot say.
    """
    if kind == "onnx" and has_openvino_encoder(network):
        raise ModelError(f"{network.encoder.name}: is a graph of OpenVINO already; export it with --format openvino")
    height, width = network.input_spec.size
    images = (torch.zeros(EXAMPLES, 3, height, width),)
    parts: list[tuple[str, nn.Module, tuple[Tensor, ...], list[str], list[str]]] = [
        (NETWORK, network, images, ["images"], ["embeddings"])
    ]
    if network.pair_head is not None:
        # Two tensors of their own: of the same one twice, a trace would make a single input.
        sides = (torch.zeros(EXAMPLES, network.embedding_dim), torch.ones(EXAMPLES, network.embedding_dim))
        graph = _PairGraph(network.pair_head).eval()
        parts.append((PAIR_HEAD, graph, sides, ["left", "right"], ["logit", "similarity"]))
    if network.identity_head is not None:
        vectors = (torch.zeros(EXAMPLES, network.embedding_dim),)
        known = _IdentityGraph(network.identity_head).eval()
        parts.append((IDENTITY_HEAD, known, vectors, ["embeddings"], ["probabilities"]))
    write = _write_openvino if kind == "openvino" else _write_onnx
    for part, module, examples, inputs, outputs in parts:
        try:
            write(module, examples, inputs, outputs, folder / (part + SUFFIX[kind]))
        except OSError:
            raise
        except Exception as error:  # converters fail in as many ways as there are operations
            reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
            raise ModelError(f"{network.encoder.name}: cannot be turned into {kind} ({reason})") from error
    return sorted(path.name for path in folder.iterdir())


def _write_openvino(
    module: nn.Module, examples: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    with warnings.catch_warnings(action="ignore"), left_out(TELEMETRY):
        from openvino.tools.ovc import convert_model

        # Traced, PReLU stays one operation; torch's exporter would take it apart, and the graph is slower.
        shapes = [[-1, *example.shape[1:]] for example in examples]
        if isinstance(module, SiameseNetwork) and has_openvino_encoder(module):
            model = join_graphs(module, EXAMPLES)
        else:
            model = convert_model(rewritten(module), example_input=examples, input=shapes)
    for ports, names in ((model.inputs, inputs), (model.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    save_graph(model, path)


def _write_onnx(
    module: nn.Module, examples: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(action="ignore"):  # converters warn their own developers
        program: Any = torch.onnx.export(
            module,
            examples,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: batch} for _ in examples),
            dynamo=True,
            verbose=False,
        )
        program.save(path, external_data=False)
