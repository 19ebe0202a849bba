"""The card of the model that a run hands back."""

import importlib.metadata

import siamese
from siamese.config import TrainConfig
from siamese.model.card import ModelCard, TrainingCard
from siamese.model.folder import describe_encoder, describe_pair_head
from siamese.model.network import SiameseNetwork
from siamese.training.data import RunData
from siamese.training.keeper import BestKeeper


def describe_model(config: TrainConfig, best: SiameseNetwork, keeper: BestKeeper, data: RunData) -> ModelCard:
    """Everything that the model folder says of the best network of a run.

    Args:
        config: of the run.
        best: the network that is saved, on the device of validation.
        keeper: of the evaluations.
        data: of the run.
    """
    weights, head = best.encoder.weights, best.identity_head
    training = TrainingCard(
        config=config.model_dump(mode="json"),
        baseline=keeper.figures(0),
        best=keeper.figures(keeper.best_epoch),
        best_epoch=keeper.best_epoch,
        images=len(data.rows),
        tuples=data.size,
        versions={
            "siamese": siamese.__version__,
            **{name: importlib.metadata.version(name) for name in ("torch", "timm", "lightning", "numpy")},
        },
    )
    points, calibration = keeper.fit_decisions(best)
    return ModelCard(
        encoder=describe_encoder(best),
        head=best.head_name,
        embedding_dim=best.embedding_dim,
        pair_head=describe_pair_head(best),
        identities=None if head is None else data.identities,
        subcentres=1 if head is None else head.subcentres,
        operating_points=points,
        calibration=calibration,
        training=training,
        licence=weights.licence if weights is not None else "of its training images",
    )
