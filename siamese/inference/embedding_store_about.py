"""What decides the embedding of an image file: a store that was made of anything else is of no use."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from siamese.images.loader import ImageLoader
from siamese.images.store_folder import preparation
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
    spec = verifier.network.input_spec
    loader = ImageLoader(spec, align=verifier.align, face=verifier.face, device=verifier.device)
    about = {
        "format": FORMAT,
        "root": str(root.absolute()),
        "model": describe_preprocessing(verifier),
        "weights": weights_digest(verifier),
        "dimensions": verifier.network.embedding_dim,
        "prepared": preparation(loader),
        # What a GPU rounds otherwise: a run ends on the kind of device that it began on, or begins again.
        "device": verifier.device.partition(":")[0],
    }
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return plain


def weights_digest(verifier: Verifier) -> str:
    """SHA-256 of all weights as they are in memory: also of an untouched encoder, and of random ones."""
    import torch

    digest = sha256()
    for name, tensor in sorted(verifier.network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
