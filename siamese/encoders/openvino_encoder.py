"""A network of OpenVINO as a frozen encoder: it gives features, and never trains."""

import os
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.encoders.encoder import Encoder
from siamese.encoders.openvino_graph import batched_graph, compile_graph, fit_graph, read_graph, size_of
from siamese.encoders.openvino_source import parse_openvino, record_of_openvino
from siamese.errors import ModelError, OptionError, WeightsError
from siamese.images.input_spec import InputSpec
from siamese.openvino_streams import OpenVinoStreams
from siamese.progress import log

# `Encoder.name`: with the length of the features it is all that is needed to build the module again.
_NAME = re.compile(r"openvino/([1-9][0-9]{0,5})")
# The files, as bytes, in the module's state.
XML, BIN = "xml", "bin"


class OpenVinoEncoder(Encoder):
    """A graph of OpenVINO and its constants, run in float32 on the processor, wherever the rest of the network runs.

    The bytes of both files are the module's state, under the names `xml` and `bin`: a model folder holds them, and
    needs no file beside it. They are no parameters, and no buffers either: what averages, moves or casts weights
    leaves them alone. What is compiled of them belongs to the process and is no part of the state, so that the module
    can be copied, pickled and taken along by a fork.

    Features are those of each image alone, whatever else is in the batch. They have no gradient.

    Args:
        feature_dim: length of the features.
        input_spec: how images must be prepared; with it comes the size.
    """

    def __init__(self, feature_dim: int, input_spec: InputSpec) -> None:
        super().__init__(f"openvino/{feature_dim}", input_spec, feature_dim)
        self._files = {XML: torch.empty(0, dtype=torch.uint8), BIN: torch.empty(0, dtype=torch.uint8)}
        self._compiled: dict[int, OpenVinoStreams] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) float32 to features (B, feature_dim), float32, on the images' device."""
        if torch.jit.is_tracing() or torch.compiler.is_exporting():  # type: ignore[attr-defined, no-untyped-call]
            raise ModelError(f"{self.name}: is a graph of OpenVINO, which torch cannot look into; choose openvino")
        if images.ndim != 4 or images.shape[1:] != (3, *self.input_spec.size):
            height, width = self.input_spec.size
            raise ValueError(f"images {tuple(images.shape)}: expected (B, 3, {height}, {width})")
        given = images.detach().to("cpu", torch.float32).contiguous().numpy()
        return torch.from_numpy(self._streams().run(given, 1)).to(images.device)

    def batch_graph(self) -> Any:
        """The graph for any number of images (B, 3, H, W), float32, to features (B, feature_dim), float32.

        Raises:
            WeightsError: it cannot be brought from one image to several.
        """
        return batched_graph(self._fitted_graph()[0], self.feature_dim, self.name)

    def stages(self) -> list[list[nn.Module]]:
        """One stage, the whole graph: it can be frozen, and nothing else."""
        return [[self]]

    def requires_grad_(self, requires_grad: bool = True) -> "OpenVinoEncoder":
        """Do nothing, as there is nothing that could train.

        Raises:
            OptionError: it is asked to train.
        """
        if requires_grad:
            raise OptionError(
                f"--freeze: the encoder {self.name} is a graph of OpenVINO and cannot train; use --freeze all, and "
                "train a head on its features"
            )
        return self

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        """Take the bytes of a graph (`xml`) and of its constants (`bin`), each shape (bytes,), uint8.

        Raises:
            WeightsError: not these two, or no graph for this input that gives so many features.
        """
        if set(state) != {XML, BIN} or any(each.ndim != 1 or each.dtype != torch.uint8 for each in state.values()):
            found = ", ".join(sorted(state)[:3]) or "nothing"
            raise WeightsError(f"weights {origin}: found {found}; expected the bytes {XML} and {BIN} of OpenVINO")
        files = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
        _, length = _fitted(files, self.input_spec.size, origin)
        if length != self.feature_dim:
            raise WeightsError(f"weights {origin}: gives {length} features; expected {self.feature_dim}")
        self._files, self._compiled = files, {}

    def _streams(self) -> OpenVinoStreams:
        """This process's own: the threads of a graph do not come along when a process forks."""
        process = os.getpid()
        if process not in self._compiled:
            model, length = self._fitted_graph()
            # What the parent compiled stays: to let go of it would wait for threads that are not here.
            self._compiled[process] = compile_graph(model, length, self.name)
        return self._compiled[process]

    def _fitted_graph(self) -> tuple[Any, int]:
        if not len(self._files[XML]):
            raise ModelError(f"{self.name}: has no graph yet, as it has no random weights; load one into it")
        return _fitted(self._files, self.input_spec.size, self.name)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({prefix + name: tensor for name, tensor in self._files.items()})

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        given = {name: state_dict[prefix + name] for name in (XML, BIN) if prefix + name in state_dict}
        missing_keys.extend(prefix + name for name in (XML, BIN) if name not in given)
        names = {name for name in state_dict if name.startswith(prefix)}
        unexpected_keys.extend(sorted(names - {prefix + name for name in given}) if strict else [])
        if len(given) == 2:
            self.load_checkpoint(given, self.name)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_compiled": {}}


def create_openvino_encoder(name: str, input_size: tuple[int, int] | None = None) -> OpenVinoEncoder:
    """Build the encoder that `openvino:PATH.xml` or `openvino:PATH.xml@SPEC.json` names.

    Args:
        name: names the graph, whose constants lie beside it as `.bin`, and what it expects of an image, which lies
            beside it as `.input.json` unless it is named.
        input_size: height and width, instead of those in that file.

    Raises:
        OptionError: the name has another form, or OpenVINO is not installed.
        WeightsError: a file is missing or is not what it should be.
    """
    files = parse_openvino(name)
    xml, constants = files.read_xml(), files.read_bin()
    own = size_of(read_graph(xml, constants, str(files.xml)))
    about = files.read_spec(own)
    spec = about.input_spec()
    if input_size is not None:
        spec = spec.model_copy(update={"size": input_size})
    state = {XML: torch.frombuffer(bytearray(xml), dtype=torch.uint8), BIN: torch.from_numpy(constants)}
    _, length = _fitted(state, spec.size, str(files.xml))
    if own not in (None, spec.size):
        log.info("%s: was made for %dx%d, runs at %dx%d", name, *own, *spec.size)
    encoder = OpenVinoEncoder(length, spec)
    encoder.load_checkpoint(state, str(files.xml))
    encoder.weights = record_of_openvino(encoder.name, files, about, xml, constants.tobytes())
    encoder.pretrained = True
    return encoder


def create_untrained_openvino(name: str, input_spec: InputSpec | None) -> OpenVinoEncoder:
    """Build the module that `OpenVinoEncoder.name` names, to be filled with a graph by `load_state_dict`.

    Raises:
        OptionError: another name, or no input.
    """
    found = _NAME.fullmatch(name)
    if found is None or input_spec is None:
        raise OptionError(f"encoder {name!r}: expected openvino/WIDTH, and with it the input of its graph")
    return OpenVinoEncoder(int(found[1]), input_spec)


def _fitted(files: dict[str, Tensor], size: tuple[int, int], where: str) -> tuple[Any, int]:
    xml: bytes = files[XML].numpy().tobytes()
    return fit_graph(read_graph(xml, np.asarray(files[BIN].numpy()), where), size, where)
