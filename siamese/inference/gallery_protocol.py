"""Identification with a verifier: probes searched in a gallery that is given, or drawn several times."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError
from siamese.evaluation.gallery_search import Ints, Search, draw_gallery, search, search_blocks
from siamese.evaluation.identification_rates import Identification, measure_identification
from siamese.inference.known_images import check_any_usable, known_images
from siamese.inference.verifier import Verifier
from siamese.progress import log, progress

# Draws of a gallery, which cost little beside embedding the images.
RUNS = 10
# Numbers of embeddings that a pair head is given at a time: 16 MiB of float32 a side.
_BLOCK = 2**22


@dataclass(frozen=True)
class ProbeRun:
    """One gallery, searched.

    Attributes:
        gallery: rows of the gallery's images in the table of images.
        probes: rows of the probes, shape (P,).
        found: what came of searching them; identities are codes.
    """

    gallery: Ints
    probes: Ints
    found: Search


@dataclass(frozen=True)
class GalleryEvaluation:
    """Identification measured on images.

    Attributes:
        measured: the rates.
        images: how many were given; each was embedded once.
        failed: how many of them could not be embedded, and are neither in a gallery nor probes.
        repeated: images of the data that are gallery images too, and were left out of the probes.
        per_identity: gallery images of an identity; None for a gallery that was given.
        seed: of the draws; None for a gallery that was given.
        table: a row for each image with an embedding: `path`, `identity`.
        names: the identity of each code.
        runs: the searches.
    """

    measured: Identification
    images: int
    failed: int
    repeated: int
    per_identity: int | None
    seed: int | None
    table: pd.DataFrame
    names: NDArray[Any]
    runs: tuple[ProbeRun, ...]

    def as_json(self) -> dict[str, Any]:
        """The counts and figures as plain values."""
        return {
            "images": self.images,
            "failed": self.failed,
            "repeated": self.repeated,
            "per_identity": self.per_identity,
            "seed": self.seed,
            **self.measured.as_json(),
        }


def identify(
    verifier: Verifier,
    data: Path,
    *,
    gallery: Path | None = None,
    gallery_images: int | None = None,
    runs: int | None = None,
    seed: int = 0,
    identity_depth: int = 1,
) -> GalleryEvaluation:
    """Search probes in a gallery, and measure how often the right identity is found.

    Without `gallery` one is drawn of every identity that has more images than it takes, and all other images are
    probes (`siamese.evaluation.gallery_search.draw_gallery`). Several draws are averaged.

    Args:
        verifier: the model; a pair head compares where it has one.
        data: folder of identities, or manifest: the probes, and without `gallery` those images too.
        gallery: folder or manifest of the gallery.
        gallery_images: of each identity, for a gallery that is drawn; None for 1.
        runs: draws of a gallery; None for 10.
        seed: of the draws.
        identity_depth: levels of folders that name an identity.

    Raises:
        OptionError: an option out of its range, or one of drawing for a gallery that is given.
        DataError: no images or identities, no identity with enough images, nobody of the data in the gallery, or
            embeddings that are not finite.
    """
    _check_options(gallery, gallery_images, runs)
    probes = known_images(data, identity_depth=identity_depth)
    if gallery is None:
        images, repeated = probes.assign(enrolled=False), 0
    else:
        images, repeated = _together(known_images(gallery, identity_depth=identity_depth), probes, data, gallery)
    embeddings = verifier.embed([Path(file) for file in images["file"]])
    together = zip(images["file"], embeddings.outcomes, strict=True)
    failures = [(file, outcome) for file, outcome in together if outcome.status != "ok"]
    check_any_usable(data, failures, len(images))
    table, vectors = images[embeddings.usable].reset_index(drop=True), embeddings.vectors[embeddings.usable]
    codes, names = pd.factorize(table["identity"].astype(object), sort=True)
    codes = codes.astype(np.int64)
    if gallery is None:
        divisions = [_drawn(data, codes, gallery_images or 1, (seed, run)) for run in range(runs or RUNS)]
    else:
        divisions = [_given(codes, table["enrolled"].to_numpy(dtype=bool), data, gallery)]
    searched = tuple(
        ProbeRun(*rows, _search(verifier, vectors, codes, rows))
        for rows in (progress(divisions, "searching") if len(divisions) > 1 else divisions)
    )
    return GalleryEvaluation(
        measured=measure_identification([each.found for each in searched], [codes[each.probes] for each in searched]),
        images=len(images),
        failed=len(failures),
        repeated=repeated,
        per_identity=(gallery_images or 1) if gallery is None else None,
        seed=seed if gallery is None else None,
        table=table[["path", "identity"]],
        names=np.asarray(names, dtype=object),
        runs=searched,
    )


def write_probes(evaluation: GalleryEvaluation, path: Path) -> None:
    """Write a row per probe and run as CSV.

    Columns: `run` (from 1), `path`, `identity`, `best_identity` and its `similarity`, `right_similarity` and `rank`
    of the right identity (1 for the first; empty for a non-mated probe), `mated` (1 or 0).
    """
    with atomic_path(path) as temporary:
        for number, run in enumerate(evaluation.runs, 1):
            found, probes = run.found, evaluation.table.iloc[run.probes]
            ranks = pd.array(found.ranks + 1, dtype="Int64")
            ranks[~found.mated] = pd.NA
            columns = {
                "run": number,
                "path": probes["path"].to_numpy(),
                "identity": probes["identity"].to_numpy(),
                "best_identity": evaluation.names[found.nearest],
                "similarity": found.best,
                "right_similarity": found.own,
                "rank": ranks,
                "mated": found.mated.astype(np.int64),
            }
            table, first = pd.DataFrame(columns), number == 1
            mode: Literal["w", "a"] = "w" if first else "a"
            table.to_csv(temporary, mode=mode, header=first, index=False, lineterminator="\n", float_format="%.9g")


def _check_options(gallery: Path | None, gallery_images: int | None, runs: int | None) -> None:
    for option, value in (("--gallery-images", gallery_images), ("--runs", runs)):
        if value is not None and gallery is not None:
            raise OptionError(f"{option} {value}: nothing is drawn from a gallery that is given; leave it out")
        if value is not None and value < 1:
            raise OptionError(f"{option} {value}: expected 1 or more")


def _together(enrolled: pd.DataFrame, probes: pd.DataFrame, data: Path, gallery: Path) -> tuple[pd.DataFrame, int]:
    """The images of gallery and probes, and how many probes were left out since they are gallery images."""
    known = {str(Path(file).resolve()) for file in enrolled["file"]}
    repeated = np.array([str(Path(file).resolve()) in known for file in probes["file"]])
    if repeated.all():
        raise DataError(f"{data}: all {len(probes)} images are in the gallery {gallery} too; give others as probes")
    if repeated.any():
        found = int(repeated.sum())
        log.warning("%s: %d of %d images are in the gallery too, and are no probes", data, found, len(probes))
    parts = [enrolled.assign(enrolled=True), probes[~repeated].assign(enrolled=False)]
    return pd.concat(parts, ignore_index=True), int(repeated.sum())


def _drawn(data: Path, codes: Ints, per_identity: int, seed: tuple[int, int]) -> tuple[Ints, Ints]:
    try:
        return draw_gallery(codes, per_identity=per_identity, seed=seed)
    except DataError as error:
        raise DataError(f"{data}: {error}, or lower --gallery-images") from error


def _given(codes: Ints, in_gallery: NDArray[np.bool_], data: Path, gallery: Path) -> tuple[Ints, Ints]:
    enrolled, probes = np.unique(codes[in_gallery]), np.unique(codes[~in_gallery])
    for where, found in ((gallery, enrolled), (data, probes)):
        if not len(found):
            raise DataError(f"{where}: none of its images can be embedded; give clearer ones")
    if not np.isin(probes, enrolled).any():
        raise DataError(
            f"{gallery}: has none of the {len(probes)} identities of {data} among its {len(enrolled)}; "
            "identities must bear the same names in both"
        )
    return np.flatnonzero(in_gallery), np.flatnonzero(~in_gallery)


def _search(verifier: Verifier, vectors: NDArray[np.float32], codes: Ints, rows: tuple[Ints, Ints]) -> Search:
    gallery, probes = rows
    if not verifier.pair_head:  # cosines of all at once
        return search(vectors[probes], codes[probes], vectors[gallery], codes[gallery])
    blocks = _compared(verifier, vectors[probes], vectors[gallery])
    return search_blocks(blocks, codes[probes], codes[gallery])


def _compared(
    verifier: Verifier, probes: NDArray[np.float32], gallery: NDArray[np.float32]
) -> Iterator[NDArray[Any]]:
    """Similarities of some probes with the whole gallery, as the verifier compares a pair."""
    size, width = gallery.shape
    rows = max(1, _BLOCK // (size * width))
    for start in range(0, len(probes), rows):
        block = probes[start : start + rows]
        # Of a single probe and a large gallery neither side is copied.
        left = np.broadcast_to(block[:, None], (len(block), size, width)).reshape(-1, width)
        right = np.broadcast_to(gallery, (len(block), size, width)).reshape(-1, width)
        yield verifier.similarity(left, right).reshape(len(block), size)
