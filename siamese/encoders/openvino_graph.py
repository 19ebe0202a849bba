"""Graphs of OpenVINO as encoders: read, fitted to one image at a time, and compiled. Imports no torch."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.device import usable_processors
from siamese.errors import WeightsError
from siamese.openvino_library import core, openvino, reason_of
from siamese.openvino_streams import OpenVinoStreams, stream_settings

# What pixels are turned into where the network does not take float32.
_PIXEL_TYPES = ("f32", "f16", "bf16", "f64", "u8")


def read_graph(xml: bytes, constants: NDArray[np.uint8], where: str) -> Any:
    """A graph out of memory: one input, images with three colours first, and one output.

    Args:
        xml: the graph.
        constants: its `.bin`, shape (bytes,), uint8.
        where: what it is called, for error messages.

    Raises:
        WeightsError: OpenVINO cannot read it, or it is not the graph of an encoder.
    """
    try:
        model = core().read_model(xml, openvino().Tensor(constants))
    except RuntimeError as error:
        raise WeightsError(
            f"weights {where}: OpenVINO cannot read the graph ({reason_of(error)}); its .xml and .bin may not belong "
            "together, or are of a newer OpenVINO"
        ) from error
    if (len(model.inputs), len(model.outputs)) != (1, 1):
        raise WeightsError(
            f"weights {where}: has {_count(model.inputs, 'input')} and {_count(model.outputs, 'output')}; expected "
            "one of each, images and features: cut the graph down to them where it is made"
        )
    if model.get_variables():
        raise WeightsError(f"weights {where}: keeps a state from one image to the next; expected an encoder, without")
    _check_input(model.inputs[0], where)
    return model


def size_of(model: Any) -> tuple[int, int] | None:
    """Height and width that a graph was made for; None where it takes any."""
    shape = model.inputs[0].partial_shape
    if shape.rank.is_dynamic or shape[2].is_dynamic or shape[3].is_dynamic:
        return None
    return shape[2].get_length(), shape[3].get_length()


def fit_graph(model: Any, size: tuple[int, int], where: str) -> tuple[Any, int]:
    """A graph for one image of a size, in float32 on both sides.

    One image, and not a batch of any size: every graph can be brought to it, whatever batch it was made for, and
    none can mix images. It is also the fastest on a CPU that has a stream for each processor.

    Args:
        model: as `read_graph` gives it; is changed.
        size: height and width.
        where: what it is called, for error messages.

    Returns:
        The graph, and the length of its features.

    Raises:
        WeightsError: it cannot take the size, or gives no vector for an image.
    """
    own = size_of(model)
    height, width = size
    try:
        model.reshape([1, 3, height, width])
    except RuntimeError as error:
        made = f"it was made for {own[0]}x{own[1]}" if own else "it takes others"
        raise WeightsError(
            f"weights {where}: cannot take images of {height}x{width} (height x width): {made} ({reason_of(error)}); "
            "name a size that it takes, in the file that describes its input or with --input-size"
        ) from error
    shape = model.outputs[0].partial_shape
    dims: list[int] = [dim.get_length() for dim in shape] if shape.is_static else []
    length = max(dims[1:], default=0)
    # (1, D, 1, 1) is a vector as well as (1, D): all but one dimension are 1.
    if length < 2 or dims[0] != 1 or prod(dims) != length:
        raise WeightsError(
            f"weights {where}: gives {shape} for one image of {height}x{width}; expected one vector, (1, D) or "
            "(1, D, 1, 1): cut the graph at its embedding, or pool its map, where it is made"
        )
    return _in_float32(model), length


def batched_graph(model: Any, length: int, where: str) -> Any:
    """A graph for any number of images out of one that `fit_graph` gave.

    Args:
        model: is changed.
        length: of its features.
        where: what it is called, for error messages.

    Returns:
        From (B, 3, H, W) to (B, length), both float32.

    Raises:
        WeightsError: something in it holds on to one image.
    """
    library = openvino()
    _, *image = (dim.get_length() for dim in model.inputs[0].partial_shape)
    alone = f"weights {where}: the graph takes one image at a time only"
    try:
        model.reshape([-1, *image])
    except RuntimeError as error:
        raise WeightsError(f"{alone} ({reason_of(error)})") from error
    if model.outputs[0].partial_shape[0].is_static:
        raise WeightsError(f"{alone} (of several it gives {model.outputs[0].partial_shape})")
    features = model.outputs[0].get_node().input_value(0)
    flat = library.opset13.reshape(features, np.array([-1, length], np.int64), special_zero=False)
    return library.Model([flat], model.get_parameters(), "encoder")


def compile_graph(model: Any, length: int, where: str) -> OpenVinoStreams:
    """A graph that `fit_graph` gave, compiled for all processors that this process may use, in float32.

    Raises:
        WeightsError: OpenVINO cannot run it here.
    """
    threads = usable_processors()
    try:
        compiled = core().compile_model(model, "CPU", stream_settings(threads))
    except RuntimeError as error:
        raise WeightsError(
            f"weights {where}: OpenVINO cannot run the graph here ({reason_of(error)}); convert it again with the "
            "OpenVINO that is installed here"
        ) from error
    return OpenVinoStreams(compiled, threads, length)


def _check_input(port: Any, where: str) -> None:
    shape, kind = port.partial_shape, port.element_type.get_type_name()
    any_rank = shape.rank.is_dynamic
    if not any_rank and (len(shape) != 4 or not (shape[1].is_dynamic or shape[1].get_length() == 3)):
        raise WeightsError(
            f"weights {where}: takes {shape}; expected images (N, 3, H, W), colours before rows: convert the network "
            "with this layout"
        )
    if kind not in _PIXEL_TYPES:
        raise WeightsError(
            f"weights {where}: takes numbers of type {kind}; expected one of {', '.join(_PIXEL_TYPES)}"
        )


def _in_float32(model: Any) -> Any:
    library = openvino()
    if {port.element_type for port in (model.inputs[0], model.outputs[0])} == {library.Type.f32}:
        return model
    from openvino import preprocess

    steps = preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(library.Type.f32)
    steps.output().tensor().set_element_type(library.Type.f32)
    return steps.build()


def _count(ports: Any, what: str) -> str:
    return f"{len(ports)} {what}{'' if len(ports) == 1 else 's'}"
