"""siamese: learn, calibrate, decide: verification by transfer learning.

from siamese import Verifier

verifier = Verifier.load("model/")
verifier.compare("a.jpg", "b.jpg").probability
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamese.errors import SiameseError
    from siamese.inference.comparison import Comparison
    from siamese.inference.verifier import Verifier
    from siamese.model.embeddings import Embeddings

__version__ = "0.1.0"

__all__ = ["Comparison", "Embeddings", "SiameseError", "Verifier", "__version__"]

_HOMES = {
    "Comparison": "siamese.inference.comparison",
    "Embeddings": "siamese.model.embeddings",
    "SiameseError": "siamese.errors",
    "Verifier": "siamese.inference.verifier",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for by name only then: `import siamese` alone costs nothing (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
