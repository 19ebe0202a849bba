"""The audit of a data set: its files, its catalog, its pair files and, with a model, its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.images.alignment import failed_alignments
from siamese.images.audit import image_findings
from siamese.images.catalog import Catalog, read_catalog
from siamese.inference.embed import embed_images
from siamese.inference.verifier import Verifier
from siamese.pairing.audit import LIMIT, Findings, catalog_findings, listed, table_findings
from siamese.pairing.closure import IMAGE_COLUMNS, PairIndex, pseudo_identities
from siamese.pairing.formats import read_any
from siamese.pairing.suspects import Suspicion, label_suspects
from siamese.pairing.table import present
from siamese.progress import log


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found.

    Attributes:
        images: how many images were looked at.
        identities: how many identities they show.
        layout: how the images lie, or where else the identities come from.
        findings: the problems.
    """

    images: int
    identities: int
    layout: str
    findings: Findings

    def as_json(self) -> dict[str, Any]:
        """Keys `images`, `identities`, `problems` (`kind`, `where`, `detail`), `counts` by kind."""
        return {
            "images": self.images,
            "identities": self.identities,
            "problems": [vars(problem) for problem in self.findings.problems],
            "counts": dict(self.findings.counts),
        }


def audit_data(
    data: Path,
    pairs: Sequence[Path] = (),
    *,
    verifier: Verifier | None = None,
    identity_depth: int = 1,
    limit: int = LIMIT,
    same_label: str | None = None,
) -> Audit:
    """Say what is wrong with a data set before it is trained on.

    Args:
        data: folder of images in a known layout, or a manifest. With pair files also a folder without identities:
            then the genuine pairs, closed transitively, say who is who.
        pairs: files of pairs, triplets or quadruplets, with paths relative to `data` or to the manifest's folder.
        verifier: embeds the images, to find probable label errors; None leaves that out.
        identity_depth: levels of folders that name an identity.
        limit: problems of a kind to list; all are counted.
        same_label: the value of the label column that means same; None: 1 or true.

    Raises:
        DataError: there is nothing to audit at `data`.
        PairFileError: a pair file is damaged.
        OptionError: a limit below 1.
    """
    if limit < 1:
        raise OptionError(f"--limit {limit}: expected 1 or more")
    tables = {str(path): read_any(path, need_same=False, same_label=same_label)[1] for path in pairs}
    catalog, named = _catalog(data, tables, identity_depth)
    files = image_findings(catalog.root, catalog.images, limit=limit)
    parts = [files.findings]
    if named:
        parts.append(catalog_findings(catalog.images, limit=limit))
        tables = {name: _with_identities(table, catalog.images) for name, table in tables.items()}
    parts.append(table_findings(tables, limit=limit))
    parts += [_missing_images(name, table, catalog, limit) for name, table in tables.items()]
    if verifier is not None:
        parts.append(_suspects(verifier, catalog.root, catalog.images[files.readable], limit))
    return Audit(len(catalog.images), catalog.identities, catalog.layout, Findings.joined(parts, limit))


def _catalog(data: Path, tables: Mapping[str, pd.DataFrame], identity_depth: int) -> tuple[Catalog, bool]:
    """The catalog, and whether the data name the identities themselves."""
    try:
        return read_catalog(data, identity_depth=identity_depth, check=False), True
    except DataError:
        if not data.is_dir() or identity_depth < 1 or not tables:
            raise
        closed = pseudo_identities(_all_pairs(tables)).catalog
        if closed.empty:
            raise
    images = closed[present(data, closed["path"].to_numpy(dtype=object))]
    if images.empty:
        raise DataError(f"{data}: holds no image that a pair file names; their paths are relative to it")
    log.info("%s: no identity folders; genuine pairs, closed transitively, say who is who", data)
    return Catalog(data, images.sort_values("path", ignore_index=True), layout="identities from pairs"), False


def _all_pairs(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The labelled pairs of all tables together."""
    parts = []
    for table in tables.values():
        index = PairIndex.of(table)
        cells = {"left": index.paths[index.left], "right": index.paths[index.right], "same": index.same}
        parts.append(pd.DataFrame(cells)[index.labelled])
    return pd.concat(parts, ignore_index=True)


def _with_identities(table: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """A table without identity columns, with the identities that the catalog gives its images.

    A file that names identities itself may name them in its own way, so nothing is mixed into it.
    """
    columns = {side: f"{side}_identity" for side in IMAGE_COLUMNS if side in table.columns}
    if set(columns.values()) & set(table.columns):
        return table
    given = pd.Series(images["identity"].to_numpy(dtype=object), index=images["path"].to_numpy(dtype=object))
    return table.assign(**{name: table[side].astype(object).map(given) for side, name in columns.items()})


def _missing_images(name: str, table: pd.DataFrame, catalog: Catalog, limit: int) -> Findings:
    """Images that a pair file names and that are not there, each with the first row that names it."""
    index = PairIndex.of(table)
    absent = ~present(catalog.root, index.paths)
    failed = failed_alignments(catalog.root) if absent.any() else {}
    first = np.full(len(index.paths), len(index.left))
    for side in (index.left, index.right):
        np.minimum.at(first, side, np.arange(len(side)))

    def worded(image: int) -> tuple[str, str]:
        path = str(index.paths[image])
        reason = (
            f"`siamese align` made no crop: {failed[path]}" if path in failed else f"no file below {catalog.root}"
        )
        return f"{name} {index.row(first[image])}", f"names {path}: {reason}"

    return listed("missing_image", np.flatnonzero(absent), worded, limit)


def _suspects(verifier: Verifier, root: Path, images: pd.DataFrame, limit: int) -> Findings:
    images, vectors = embed_images(verifier, root, images)
    paths, names = (images[name].to_numpy(dtype=object) for name in ("path", "identity"))
    groups = np.asarray(pd.factorize(names)[0], dtype=np.int64)
    suspicion = label_suspects(vectors, groups, limit=limit)
    _note(suspicion, len(np.unique(groups)))
    found = suspicion.suspects

    def worded(number: int) -> tuple[str, str]:
        return str(paths[found[number].image]), _accusation(suspicion, number, paths, names)

    shown = listed("label_suspect", np.arange(len(found)), worded, limit)
    return Findings(shown.problems, {"label_suspect": suspicion.total} if suspicion.total else {})


def _note(suspicion: Suspicion, identities: int) -> None:
    measured = f"a genuine pair typically has {suspicion.genuine:.3f}, a nearest stranger {suspicion.stranger:.3f}"
    if identities > 1 and not suspicion.told_apart:
        log.warning("the model does not tell these identities apart, so it can doubt no label (%s)", measured)
    elif identities > 1:
        log.info("label suspects: %s", measured)


def _accusation(suspicion: Suspicion, number: int, paths: NDArray[np.object_], names: NDArray[np.object_]) -> str:
    suspect = suspicion.suspects[number]
    own, other = names[suspect.image], names[suspect.other]
    beside = "whose only image it is"
    if suspect.own is not None:
        count = f"{suspect.others} other image{'s have' if suspect.others > 1 else ' has'}"
        beside = f"whose {count} {suspect.own:.3f} with it"
    return (
        f"filed under {own!r}, {beside}, but has {suspect.similarity:.3f} with {paths[suspect.other]} of {other!r}; "
        f"look at both (score {suspect.score:.3f})"
    )
