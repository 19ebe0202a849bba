"""Embedding a folder or a manifest to Parquet, streamed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from siamese.atomic import atomic_path
from siamese.errors import DataError
from siamese.inference.image_source import list_images
from siamese.inference.verifier import Verifier
from siamese.progress import log

# Images to a row group: what is held in memory at a time.
GROUP = 4096


@dataclass(frozen=True)
class EmbedResult:
    """What was written.

    Attributes:
        images: rows.
        failed: rows without an embedding.
        dimensions: width of an embedding.
    """

    images: int
    failed: int
    dimensions: int


def embed_data(verifier: Verifier, data: Path, output: Path) -> EmbedResult:
    """Embed every image of a folder (of any depth), a manifest, or a single image.

    Writes columns `path`, `identity` (as the layout or the manifest has it; null where it is not known),
    `status` (`ok`, `no_face`, `unreadable`), `detail`, and `embedding` (list of float32, unit length; null where the
    status is not `ok`). Memory holds one row group.

    Raises:
        DataError: no images.
    """
    table = list_images([data])
    dimensions = verifier.network.embedding_dim
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("path", "identity", "status", "detail")),
            ("embedding", pa.list_(pa.float32(), dimensions)),
        ]
    )
    failed = 0
    with atomic_path(output) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for start in range(0, len(table), GROUP):
            part = table.iloc[start : start + GROUP]
            embeddings = verifier.embed([Path(file) for file in part["file"]])
            missing = ~embeddings.usable
            failed += int(missing.sum())
            values = pa.array(np.ascontiguousarray(embeddings.vectors).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(values, dimensions, mask=pa.array(missing))
            columns = [
                pa.array(part["path"], pa.string()),
                pa.array(part["identity"], pa.string(), from_pandas=True),
                pa.array([outcome.status for outcome in embeddings.outcomes], pa.string()),
                pa.array([outcome.detail for outcome in embeddings.outcomes], pa.string()),
                vectors,
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return EmbedResult(len(table), failed, dimensions)


def embed_images(verifier: Verifier, root: Path, images: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Embed the images of a catalog; those that cannot be embedded are left out with a warning.

    Args:
        verifier: the model.
        root: what the paths are relative to.
        images: a row per image, `path` among its columns.

    Returns:
        The rows that have an embedding, and the unit vectors (N, D) in their order.

    Raises:
        DataError: no image can be embedded.
    """
    embeddings = verifier.embed([root / path for path in images["path"]])
    usable = embeddings.usable
    if not usable.any():
        reason = embeddings.outcomes[0].detail if embeddings.outcomes else "there are none"
        raise DataError(f"{root}: none of {len(images)} images can be embedded; first: {reason}")
    if not usable.all():
        lost = int((~usable).sum())
        log.warning("%d of %d images could not be embedded and are left out", lost, len(images))
    return images[usable].reset_index(drop=True), embeddings.vectors[usable]
