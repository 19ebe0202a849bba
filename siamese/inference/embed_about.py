"""What decides the embeddings of a corpus: a run goes on only where all of it is as it was."""

from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from siamese import __version__
from siamese.images.store_folder import preparation
from siamese.inference.embed_ahead import loader_of

if TYPE_CHECKING:
    from siamese.inference.verifier import Verifier

# Names hashed at a time.
_CHUNK = 65536


def describe_model(verifier: "Verifier") -> dict[str, Any]:
    """All that decides the vector of an image file, in values that JSON holds; equal where the vectors are."""
    from siamese.inference.model_identity import weights_digest
    from siamese.inference.preprocessing import describe_preprocessing

    return {
        "preprocessing": describe_preprocessing(verifier),
        "pixels": preparation(loader_of(verifier)),
        "weights": weights_digest(verifier),
        "versions": {"siamese": __version__, **{name: _version(name) for name in ("torch", "openvino")}},
    }


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
