"""Which model it is, by what it computes with: its weights in memory, or the files of its export."""

from hashlib import sha256

import numpy as np

from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.verifier import Verifier


def weights_digest(verifier: Verifier) -> str:
    """SHA-256 in hexadecimal, equal where the embeddings are: also of an untouched encoder, and of random weights.

    Of a network on torch over the names, shapes and values of its weights; of an export over its files and the
    precision that it runs at.
    """
    digest = sha256()
    if isinstance(verifier.runtime, OpenVinoRuntime):
        files = sorted(verifier.runtime.manifest.files.items())
        digest.update(f"{files} {verifier.runtime.precision}".encode())
        return digest.hexdigest()
    for name, tensor in sorted(verifier.network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()
