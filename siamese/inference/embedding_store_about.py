"""What a store of embeddings was made of."""

import json
from pathlib import Path
from typing import Any

from siamese.inference.embedding_origin import describe_embeddings
from siamese.inference.verifier import Verifier

# Changes with the form of the store.
FORMAT = 2


def about_embeddings(verifier: Verifier, root: Path) -> dict[str, Any]:
    """The model, the way of preparing images, and the folder they are in, in values that JSON holds.

    Args:
        verifier: the model.
        root: what names of images are relative to.
    """
    about = {
        "format": FORMAT,
        "root": str(root.absolute()),
        "model": describe_embeddings(verifier),
        "dimensions": verifier.embedding_dim,
        # What a GPU rounds otherwise: a run ends on the kind of device that it began on, or begins again.
        "device": verifier.device.partition(":")[0],
    }
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return plain
