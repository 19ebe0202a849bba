"""Embedding a corpus to Parquet, part by part: a run that was ended goes on where it was."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError
from siamese.inference.embed_ahead import AheadEmbedder
from siamese.inference.embed_list import images_digest, images_to_embed
from siamese.inference.embed_part import WRITING, PartDone, embed_part, force_to_disk, schema_of
from siamese.inference.embed_work import WorkFolder, has_parts, held
from siamese.inference.embedding_origin import describe_embeddings
from siamese.progress import log, progress

if TYPE_CHECKING:
    import pandas as pd
    from tqdm import tqdm

    from siamese.inference.verifier import Verifier

# Images to a part: what a killed run does again at most, what is held in memory, and a row group of the result.
PART = 2048
MODEL_KEY = b"siamese.model"

# Embeds the parts of these numbers, in any order; `advance` is called with numbers of images as they are embedded.
Engine = Callable[[WorkFolder, Sequence[int], Callable[[int], object]], Iterator[PartDone]]


@dataclass(frozen=True)
class EmbedResult:
    """What was written.

    Attributes:
        images: rows.
        failed: rows without an embedding.
        dimensions: width of an embedding.
        embedded: images that this run worked on; the others were done by an earlier one that was ended.
        parts: how many the work was divided into.
    """

    images: int
    failed: int
    dimensions: int
    embedded: int
    parts: int


def embed_data(
    verifier: "Verifier",
    data: Path,
    output: Path,
    *,
    partitioned: bool | None = None,
    part_size: int = PART,
    engine: Engine | None = None,
) -> EmbedResult:
    """Embed every image of a folder (of any depth), a manifest, a single image, or a text file that lists paths.

    Writes columns `path`, `identity` (as the layout or the manifest has it; null where it is not known),
    `status` (`ok`, `no_face`, `unreadable`), `detail`, and `embedding` (list of float32, unit length; null where the
    status is not `ok`), in the order of the list. The model and its preprocessing are kept as JSON in the metadata of
    the file, under `siamese.model`.

    The work is done in parts. One file: they gather in a folder beside it (`OUTPUT.work`), and the file appears whole
    at the end or not at all. Partitioned: they are the output, `part-00000.parquet` and so on, with a
    `_manifest.json` that says whether all of them are there. Either way a run that was ended, however, goes on where
    it was when it is started again; a part counts as done while the model, the list and the image files of that part
    are as they were. Memory holds one part, and what `AheadEmbedder` says.

    Args:
        verifier: the model.
        data: what to embed; see `images_to_embed` for what tells a list from a manifest.
        output: a file, or a folder for partitioned output.
        partitioned: whether it is a folder; None to see whether there is one.
        part_size: images to a part.
        engine: what embeds the parts; None for this process.

    Raises:
        DataError: no images; something else where parts should gather; a disk that is full or refuses to be written.
        OptionError: the output is no Parquet file by its name, is read as well, or holds finished embeddings of
            another model or list; a part size below 1.
    """
    folder = output.is_dir() if partitioned is None else partitioned
    if part_size < 1:
        raise OptionError(f"--part-size {part_size}: expected the images of a part, 1 or more")
    check_destination(output, data, partitioned=folder)
    images = images_to_embed(data)
    model = describe_embeddings(verifier)
    about = {"model": model, "images": images_digest(images), "part_size": part_size}
    dimensions = verifier.embedding_dim
    place = output if folder else output.with_name(f"{output.name}.work")
    with _explained(place), held(place):
        work = WorkFolder(place, about, images, lasting=folder)
        done = work.finished()
        embedded = _embed_missing(work, images.num_rows, done, engine or local_engine(verifier))
        if folder:
            work.mark(complete=True)
        else:
            _join(work, output, schema_of(dimensions).with_metadata({MODEL_KEY: json.dumps(model).encode()}))
            work.remove()
    failed = sum(part.failed for part in done.values())
    return EmbedResult(images.num_rows, failed, dimensions, embedded, work.parts)


def check_destination(output: Path, data: Path, *, partitioned: bool) -> None:
    """Refuse, before the work, an output that cannot or must not be written.

    Raises:
        OptionError: a file that is no Parquet by its suffix, or the one that is read; a folder where a file is.
    """
    if partitioned:
        if output.exists() and not output.is_dir():
            raise OptionError(f"-o {output}/: there is a file of that name; name a new or an empty folder")
        return
    if output.suffix.lower() not in (".parquet", ".pq"):
        raise OptionError(
            f"-o {output}: embeddings are Parquet; name a file that ends in .parquet, or a folder: {output}/"
        )
    if output.is_dir():
        raise OptionError(f"-o {output}: is a folder, expected the name of a file to write")
    if output.exists() and data.exists() and output.samefile(data):
        raise OptionError(f"-o {output}: is read as well, and would be replaced; name another file")


def local_engine(verifier: "Verifier", *, ahead: int | None = None) -> Engine:
    """Embed parts one after the other in this process; `ahead` as of `AheadEmbedder`."""
    embedder = AheadEmbedder(verifier, ahead=ahead)

    def embed_parts(work: WorkFolder, numbers: Sequence[int], advance: Callable[[int], object]) -> Iterator[PartDone]:
        for number in numbers:
            yield embed_part(embedder.embed, work.images(number), work.folder, number, work.run, advance)

    return embed_parts


def _embed_missing(work: WorkFolder, total: int, done: dict[int, PartDone], engine: Engine) -> int:
    """Embed the parts that are not done, and note them as done; how many images that were."""
    numbers = [number for number in range(work.parts) if number not in done]
    before = sum(part.images for part in done.values())
    if done:
        log.info("%s: going on, %s of %s images are embedded already", work.folder, f"{before:,}", f"{total:,}")
    if not numbers:
        return 0
    work.mark(complete=False)
    bar: tqdm[int] = progress(range(0), f"embedding {total - before} images", total - before, "img")
    try:
        for part in engine(work, numbers, bar.update):
            done[part.number] = part
    except KeyboardInterrupt:
        kept = sum(part.images for part in done.values())
        log.warning("%s of %s images are embedded; the same command goes on from there", f"{kept:,}", f"{total:,}")
        raise
    finally:
        bar.close()
    return total - before


def _join(work: WorkFolder, output: Path, schema: pa.Schema) -> None:
    """Write the parts into one file, a row group each; one of them is in memory at a time."""
    with atomic_path(output) as temporary:
        with pq.ParquetWriter(temporary, schema, **WRITING) as writer:
            for path in work.paths():
                table = pq.ParquetFile(path, page_checksum_verification=True).read()
                writer.write_table(table.cast(schema), row_group_size=max(1, table.num_rows))
        force_to_disk(temporary)


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Turn the system's refusal to write into one line that says what is kept."""
    try:
        yield
    except OSError as error:
        # Of pyarrow's errors neither names the file, and some hold their number in the text alone.
        number = re.search(r"\[errno (\d+)\]", str(error))
        reason = os.strerror(int(number[1])) if number else error.strerror or " ".join(str(error).split())
        raise DataError(
            f"{error.filename or place}: {reason}; mend that and run again"
            + (f": what is embedded stays in {place}, and the same command goes on" if has_parts(place) else "")
        ) from error


def embed_images(
    verifier: "Verifier", root: Path, images: "pd.DataFrame"
) -> "tuple[pd.DataFrame, NDArray[np.float32]]":
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
