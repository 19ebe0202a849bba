"""What decides the embedding of an image file: what was made of anything else is of no use to a run that goes on."""

from typing import Any

from siamese import __version__
from siamese.images.store_folder import preparation
from siamese.inference.model_identity import weights_digest
from siamese.inference.preprocessing import describe_preprocessing
from siamese.inference.verifier import Verifier
from siamese.installed import installed_version


def describe_embeddings(verifier: Verifier) -> dict[str, Any]:
    """Everything that decides the vector of an image file, in values that JSON holds; equal where the vectors are.

    Returns:
        `preprocessing` (see `describe_preprocessing`), `pixels` (how files become pixels, the code and the packages
        that do it), `weights` (their digest), `versions`.
    """
    return {
        "preprocessing": describe_preprocessing(verifier),
        "pixels": preparation(verifier.loader),
        "weights": weights_digest(verifier),
        "versions": {"siamese": __version__, **{name: installed_version(name) for name in ("torch", "openvino")}},
    }
