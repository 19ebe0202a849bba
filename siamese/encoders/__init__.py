from siamese.encoders.listing import EncoderRow, list_encoders
from siamese.encoders.registry import create_encoder, create_untrained
from siamese.encoders.weights import WeightEntry, WeightsRecord, fetch

__all__ = [
    "EncoderRow",
    "WeightEntry",
    "WeightsRecord",
    "create_encoder",
    "create_untrained",
    "fetch",
    "list_encoders",
]
