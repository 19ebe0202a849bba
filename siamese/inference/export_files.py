"""The files of an export: written from a network on torch, held against it, and moved into their place."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import siamese
from siamese.encoders.bundled import BUNDLED, path_of_model
from siamese.encoders.openvino_source import PREFIX as OPENVINO
from siamese.encoders.openvino_source import parse_openvino
from siamese.errors import ModelError, SiameseError
from siamese.images.loader import ImageLoader
from siamese.inference.export_graphs import write_graphs
from siamese.inference.export_manifest import ExportManifest, sha256_of_file, write_manifest
from siamese.inference.export_parity import FLOAT32_TOLERANCE, Parity, Reference, check_parity, take_reference
from siamese.inference.export_samples import Samples, embed_samples, quick_samples
from siamese.inference.model_identity import weights_digest
from siamese.inference.runtime import Runtime
from siamese.inference.verifier import Verifier
from siamese.installed import installed_version
from siamese.model.card import CARD
from siamese.progress import log

_PACKAGES = {"openvino": ("torch", "openvino"), "onnx": ("torch", "onnx", "onnxruntime", "onnxscript")}


def write_export(
    verifier: Verifier, folder: Path, kind: str, quantise: Callable[[Path], None] | None = None
) -> ExportManifest:
    """Write the graphs of a network, and say what they are; what was not checked yet is not claimed.

    Args:
        verifier: on torch, on the CPU.
        folder: empty.
        kind: `openvino` or `onnx`.
        quantise: turns the graph in the folder to eight bits; None to leave it in float32.

    Raises:
        ModelError: the network cannot be converted.
    """
    network, card = verifier.network, verifier.card
    write_graphs(network, folder, kind)
    if quantise is not None:
        quantise(folder)
    weights = network.encoder.weights
    manifest = ExportManifest(
        siamese=siamese.__version__,
        kind=kind,
        int8=quantise is not None,
        model=_short_name(verifier.name),
        encoder=network.encoder.name,
        weights=None if weights is None else weights.model_dump(mode="json"),
        weights_sha256=hash_of_weights(verifier),
        card_sha256=None if card is None else sha256_of_file(path_of_model(verifier.name) / CARD),
        card=None if card is None else {**card.model_dump(mode="json"), "training": None},
        input=network.input_spec.model_dump(mode="json"),
        embedding_dim=network.embedding_dim,
        pair_head=network.pair_head is not None,
        precisions={},
        parity=[],
        files={path.name: sha256_of_file(path) for path in sorted(folder.iterdir())},
        versions={name: found for name in _PACKAGES[kind] if (found := installed_version(name))},
    )
    write_manifest(folder, manifest)
    return manifest


def write_parity(folder: Path, manifest: ExportManifest, parity: Sequence[Parity]) -> ExportManifest:
    """The manifest, written again with what the check found."""
    values = {**vars(manifest), "parity": [each.plain() for each in parity]}
    values["precisions"] = {each.precision: each.passed for each in parity}
    checked = ExportManifest(**values)
    write_manifest(folder, checked)
    return checked


def reference_of(
    verifier: Verifier, samples: Samples, vectors: NDArray[np.float32], usable: NDArray[np.bool_]
) -> Reference:
    """What an export is held against; arguments as of `take_reference`."""
    point = next((each for each in verifier.operating_points if each.name == "accuracy"), None)
    return take_reference(
        verifier.runtime,
        samples,
        vectors,
        usable,
        threshold=None if point is None else point.threshold,
        pair_head=verifier.pair_head,
    )


def quick_parity(verifier: Verifier, runtime: Runtime, model: Path | None) -> Parity:
    """Hold an export in float32 against torch within a second or two.

    Args:
        verifier: on torch, on the CPU.
        runtime: the export.
        model: the model folder, whose run may have left validation pairs; None for an untouched encoder.

    Returns:
        The check on the pairs where they can be had, else on noise.

    Raises:
        ModelError: the export decides differently.
    """
    loader = ImageLoader(verifier.input_spec)
    found = []
    for samples in quick_samples(model):
        try:
            vectors, usable = embed_samples(samples, loader, (verifier.runtime, runtime))
        except SiameseError as error:  # such as no face detector: noise must do
            log.debug("%s: %s", samples.name, error)
            continue
        if usable.any():
            found.append(
                check_parity(
                    reference_of(verifier, samples, vectors[0], usable), runtime, vectors[1], FLOAT32_TOLERANCE
                )
            )
    for parity in found:
        if not parity.passed:
            raise ModelError(f"on {parity.samples} {parity.reason}")
    return found[-1]


def hash_of_weights(verifier: Verifier) -> str:
    """SHA-256 of the file of weights that a model was loaded from, of random weights that of those in memory."""
    if verifier.card is not None:
        return verifier.card.sha256
    if verifier.network.encoder.weights is not None:
        return verifier.network.encoder.weights.sha256
    return weights_digest(verifier)


def _short_name(model: str) -> str:
    """The name without the folders of this machine."""
    if model != BUNDLED and Path(model).is_dir():
        return Path(model).absolute().name
    if model.startswith(OPENVINO):
        return OPENVINO + parse_openvino(model).xml.name
    base, at, rest = model.partition("@")
    return f"{base}{at}{Path(rest).name if at else ''}"
