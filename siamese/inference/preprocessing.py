"""What was done to the images before they were compared: recorded with every result."""

from typing import Any

from siamese.inference.verifier import Verifier


def describe_preprocessing(verifier: Verifier) -> dict[str, Any]:
    """All that decides the embedding of an image file, in values that JSON holds.

    Returns:
        `encoder`; `weights` (of the encoder, as their record says; null where they are random); `model_sha256` (of
        a model folder's weights); `input` (the encoder's `InputSpec`); `align`, `face` and `flip` as they were asked
        for.
    """
    network = verifier.network
    weights = network.encoder.weights
    return {
        "encoder": network.encoder.name,
        "weights": None if weights is None else weights.model_dump(mode="json"),
        "model_sha256": None if verifier.card is None else verifier.card.sha256,
        "input": network.input_spec.model_dump(mode="json"),
        "align": verifier.align,
        "face": verifier.face,
        "flip": verifier.flip,
    }
