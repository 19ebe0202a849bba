"""A tiny model whose identity head was imprinted with the means of twelve rendered people."""

from pathlib import Path

import pandas as pd
import torch

from siamese.heads.identity import IdentityHead
from siamese.images.catalog import read_catalog
from siamese.inference.verifier import Verifier
from siamese.losses.class_softmax import CrossEntropy
from siamese.losses.loss import LossSize
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, save_model

from .conftest import ENCODER

KNOWN = 12


def save_classifier(folder: Path, faces: Path) -> Path:
    """A model folder in `folder` that knows the first twelve people of `faces`."""
    torch.manual_seed(0)
    verifier = Verifier.load(ENCODER, input_size=(32, 32), device="cpu", runtime="torch")
    network, images = verifier.network, read_catalog(faces).images
    labels = tuple(sorted(images["identity"].unique())[:KNOWN])
    images = images[images["identity"].isin(labels)]
    vectors = torch.from_numpy(verifier.embed([faces / path for path in images["path"]]).vectors)
    classes = torch.from_numpy(pd.Index(labels).get_indexer(pd.Index(images["identity"])))
    loss = CrossEntropy(LossSize(network.embedding_dim, KNOWN), scale=200.0)
    sums = torch.zeros(KNOWN, network.embedding_dim).index_add_(0, classes, vectors)
    loss.imprint(torch.nn.functional.normalize(sums, dim=1))
    network.identity_head = IdentityHead(network.embedding_dim, KNOWN)
    network.identity_head.fill(loss.classifier())
    card = ModelCard(
        encoder=describe_encoder(network),
        head="none",
        embedding_dim=network.embedding_dim,
        operating_points=(),
        identities=labels,
    )
    save_model(folder, network, card)
    return folder
