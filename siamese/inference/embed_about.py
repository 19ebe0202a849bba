"""What decides the embeddings of a corpus: a run goes on only where all of it is as it was."""

from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from siamese import __version__
from siamese.images.store_folder import preparation
from siamese.inference.embed_ahead import loader_of

if TYPE_CHECKING:
    from siamese.inference.verifier import Verifier
    from siamese.model.network import SiameseNetwork

# Names hashed at a time.
_CHUNK = 65536


def describe_model(verifier: "Verifier") -> dict[str, Any]:
    """All that decides the vector of an image file, in values that JSON holds; equal where the vectors are."""
    from siamese.inference.preprocessing import describe_preprocessing

    return {
        "preprocessing": describe_preprocessing(verifier),
        "pixels": preparation(loader_of(verifier)),
        "weights": weights_digest(verifier.network),
        "versions": {"siamese": __version__, "torch": version("torch")},
    }


def weights_digest(network: "SiameseNetwork") -> str:
    """SHA-256 over the names, shapes and values of all weights, in hexadecimal."""
    digest = sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()


def images_digest(images: pa.Table) -> str:
    """SHA-256 over the names, files and identities of a list, in hexadecimal."""
    digest = sha256()
    for name in ("path", "file", "identity"):
        column = images.column(name)
        for start in range(0, len(column), _CHUNK):
            part = column.slice(start, _CHUNK)
            # A null is told from every text by what cannot be in a name.
            digest.update("\0".join(part.fill_null("\0").to_pylist()).encode())
            digest.update(b"\1")
    return digest.hexdigest()
