"""What was done to the images before they were compared: recorded with every result."""

from typing import Any

from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.verifier import Verifier


def describe_preprocessing(verifier: Verifier) -> dict[str, Any]:
    """All that decides the embedding of an image file, in values that JSON holds.

    Returns:
        `encoder`; `weights` (of the encoder, as their record says; null where they are random); `model_sha256` (of
        a model folder's weights); `input` (the encoder's `InputSpec`); `align`, `face` and `flip` as they were asked
        for; `runtime`, its name and precision.
    """
    if isinstance(verifier.runtime, OpenVinoRuntime):
        manifest = verifier.runtime.manifest
        encoder, weights = manifest.encoder, manifest.weights
    else:
        record = verifier.network.encoder.weights
        encoder, weights = verifier.network.encoder.name, None if record is None else record.model_dump(mode="json")
    return {
        "encoder": encoder,
        "weights": weights,
        "model_sha256": None if verifier.card is None else verifier.card.sha256,
        "input": verifier.input_spec.model_dump(mode="json"),
        "align": verifier.align,
        "face": verifier.face,
        "flip": verifier.flip,
        "runtime": {"name": verifier.runtime.name, "precision": verifier.runtime.precision},
    }
