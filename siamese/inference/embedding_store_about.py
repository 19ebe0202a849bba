"""What decides the embedding of an image file: a store that was made of anything else is of no use."""

import json
from pathlib import Path
from typing import Any

from siamese.images.loader import ImageLoader
from siamese.images.store_folder import preparation
from siamese.inference.model_identity import weights_digest
from siamese.inference.preprocessing import describe_preprocessing
from siamese.inference.verifier import Verifier

# Changes with the form of the store.
FORMAT = 1


def about_embeddings(verifier: Verifier, root: Path) -> dict[str, Any]:
    """The model by its weights, the way of preparing images, and the folder they are in, in values that JSON holds.

    Args:
        verifier: the model.
        root: what names of images are relative to.
    """
    spec = verifier.input_spec
    loader = ImageLoader(spec, align=verifier.align, face=verifier.face, device=verifier.device)
    about = {
        "format": FORMAT,
        "root": str(root.absolute()),
        "model": describe_preprocessing(verifier),
        "weights": weights_digest(verifier),
        "dimensions": verifier.embedding_dim,
        "prepared": preparation(loader),
        # What a GPU rounds otherwise: a run ends on the kind of device that it began on, or begins again.
        "device": verifier.device.partition(":")[0],
    }
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return plain
