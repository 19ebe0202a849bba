"""Identities from pairs alone: genuine pairs closed transitively, and the impostor pairs that this contradicts."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import breadth_first_order, connected_components  # type: ignore[import-untyped]

from siamese.pairing.rows import row_name
from siamese.pairing.table_columns import PAIR_COLUMNS, QUADRUPLET_COLUMNS

Ints = NDArray[np.int64]
# Of a longer chain the middle is left out when it is worded.
WORDED = 8
IMAGE_COLUMNS = (*PAIR_COLUMNS[:2], *QUADRUPLET_COLUMNS)
_GENUINE = ("anchor", "positive")


@dataclass(frozen=True)
class PairIndex:
    """A table of pairs, triplets or quadruplets as arrays of image numbers.

    A triplet is a genuine and an impostor pair, a quadruplet a genuine and three impostor pairs.

    Attributes:
        frame: the table.
        paths: the images, numbered in the order in which the rows name them, shape (N,).
        left: image number of each pair, shape (P,).
        right: image number of each pair, shape (P,).
        same: whether a pair is labelled genuine, shape (P,).
        labelled: whether a pair has a label, shape (P,).
    """

    frame: pd.DataFrame
    paths: NDArray[np.object_]
    left: Ints
    right: Ints
    same: NDArray[np.bool_]
    labelled: NDArray[np.bool_]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        """Number the images of a checked table."""
        columns = [name for name in IMAGE_COLUMNS if name in frame.columns]
        cells = np.column_stack([frame[name].to_numpy(dtype=object) for name in columns])
        numbers, paths = pd.factorize(cells.reshape(-1))
        codes = dict(zip(columns, numbers.astype(np.int64).reshape(cells.shape).T, strict=True))
        members = _members(frame)
        left, right = (np.concatenate([codes[pair[side]] for pair in members]) for side in (0, 1))
        if "anchor" in columns:
            same = np.repeat([pair == _GENUINE for pair in members], len(frame))
            labelled = np.ones(len(same), bool)
        else:
            same = frame["same"].fillna(False).to_numpy(dtype=bool)
            labelled = frame["same"].notna().to_numpy(dtype=bool)
        return cls(frame, np.asarray(paths, dtype=object), left, right, same, labelled)

    @property
    def impostor(self) -> NDArray[np.bool_]:
        """Whether a pair is labelled impostor, shape (P,)."""
        return self.labelled & ~self.same

    def row(self, pair: int) -> str:
        """Name the row of a pair as the user's file has it."""
        return row_name(self.frame, pair % len(self.frame))

    @property
    def several(self) -> bool:
        """Whether each row of the table holds several pairs, as triplets and quadruplets do."""
        return len(self.left) > len(self.frame)

    @property
    def keys(self) -> Ints:
        """A number for each pair that is the same for the same two images in either order, shape (P,)."""
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        return np.asarray(low * len(self.paths) + high)

    def first_of_pair(self) -> Ints:
        """For every pair the first that names the same two images; labelled ones go before others, shape (P,)."""
        order = np.lexsort((~self.labelled, self.keys))
        keys = self.keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        first = np.empty_like(order)
        first[order] = np.repeat(order[starts], np.diff(np.append(starts, len(keys))))
        return first

    def identities(self) -> tuple[NDArray[np.object_], NDArray[np.object_]] | None:
        """The identities of all left and of all right images, NaN where unknown; None without their columns."""
        names = {side: f"{side}_identity" for side in IMAGE_COLUMNS}
        if names["positive"] not in self.frame.columns:
            names["positive"] = names["anchor"]  # files of triplets give the two one column
        columns = [[names[side] for side in pair] for pair in _members(self.frame)]
        if not {name for pair in columns for name in pair} <= set(self.frame.columns):
            return None
        left, right = (
            np.concatenate([self.frame[pair[side]].to_numpy(dtype=object) for pair in columns]) for side in (0, 1)
        )
        return left, right

    def components(self) -> Ints:
        """For every image the group that genuine pairs join it to, numbered by first appearance, shape (N,)."""
        graph, _ = self.genuine_graph(np.flatnonzero(self.same))
        _, labels = connected_components(graph, directed=False)
        return np.asarray(pd.factorize(labels)[0], dtype=np.int64)

    def genuine_graph(self, pairs: Ints) -> tuple[csr_array, Ints]:
        """The graph of some genuine pairs, both directions, and of its every edge the first pair that gives it."""
        count = len(self.paths)
        source = np.concatenate([self.left[pairs], self.right[pairs]])
        target = np.concatenate([self.right[pairs], self.left[pairs]])
        keys, first = np.unique(source * count + target, return_index=True)
        edges = coo_array((np.ones(len(keys)), (keys // count, keys % count)), shape=(count, count))
        return csr_array(edges), np.tile(pairs, 2)[first]


@dataclass(frozen=True)
class Conflict:
    """An impostor pair whose images genuine pairs join.

    Attributes:
        row: position of the impostor row in the table.
        images: the shortest chain from its left image to its right one.
        rows: positions of the genuine rows that join each image of the chain to the next, one fewer than images.
    """

    row: int
    images: tuple[str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Closure:
    """Pseudo-identities, and what contradicts them.

    Attributes:
        catalog: a row per image, `path` and `identity`, in the order in which the table names the images.
        conflicts: the first contradictions, in the order of the table.
        total_conflicts: how many there are in all.
    """

    catalog: pd.DataFrame
    conflicts: tuple[Conflict, ...]
    total_conflicts: int


def pseudo_identities(table: pd.DataFrame, *, explained: int = 20) -> Closure:
    """Close the genuine pairs of a table transitively into identities.

    Images that a chain of genuine pairs joins are one identity, `identity_000001` and so on in the order of first
    appearance; an image that is only in impostor pairs is an identity of its own. Rows without a label say nothing,
    and images that only they name are left out. An impostor pair within one identity is a conflict; it does not
    divide the identity.

    Args:
        table: a checked pair or triplet table.
        explained: conflicts to give with the chain that shows them.

    Example:
        >>> pairs = pd.DataFrame({"left": ["a", "b"], "right": ["b", "c"], "same": [True, True]})
        >>> pseudo_identities(pairs).catalog["identity"].nunique()
        1
    """
    index = PairIndex.of(table)
    components = index.components()
    named = np.zeros(len(index.paths), bool)
    named[index.left[index.labelled]] = named[index.right[index.labelled]] = True
    numbers, groups = pd.factorize(components[named])
    digits = max(6, len(str(len(groups))))
    names = np.array([f"identity_{number:0{digits}}" for number in range(1, len(groups) + 1)], dtype=object)
    catalog = pd.DataFrame({"path": index.paths[named], "identity": names[numbers]}, dtype=str)
    contradicted = conflicting(index, components)
    return Closure(catalog, explain_conflicts(index, contradicted[:explained], components), len(contradicted))


def conflicting(index: PairIndex, components: Ints) -> Ints:
    """The impostor pairs whose images lie in one component, ascending."""
    return np.flatnonzero(index.impostor & (components[index.left] == components[index.right]))


def explain_conflicts(index: PairIndex, pairs: Ints, components: Ints) -> tuple[Conflict, ...]:
    """Find for each of some conflicting pairs the shortest chain of genuine pairs between its images.

    One breadth-first search for every distinct left image, within the components concerned.
    """
    if not len(pairs):
        return ()
    concerned = np.isin(components, components[index.left[pairs]])
    graph, edge_pairs = index.genuine_graph(np.flatnonzero(index.same & concerned[index.left]))
    reached: dict[int, Ints] = {}
    conflicts = []
    for pair in pairs.tolist():
        start = int(index.left[pair])
        if start not in reached:
            reached = {start: breadth_first_order(graph, start)[1]}  # only the last: each is as long as the images
        chain = _chain(reached[start], start, int(index.right[pair]))
        joins = [_edge(graph, edge_pairs, *step) for step in pairwise(chain)]
        rows = tuple(join % len(index.frame) for join in joins)
        conflicts.append(Conflict(pair % len(index.frame), tuple(index.paths[chain]), rows))
    return tuple(conflicts)


def word_conflict(table: pd.DataFrame, conflict: Conflict) -> str:
    """Say in one line what contradicts what, with rows named as the user's file has them.

    Example:
        `a = b = c by rows 3 and 7, but row 12 says a and c are different`
    """
    images, rows = list(conflict.images), [row_name(table, row) for row in conflict.rows]
    claim = f"{row_name(table, conflict.row)} says {images[0]} and {images[-1]} are different"
    if not rows:
        return f"{images[0]} is one image, but {claim}"
    if len(images) > WORDED:
        left_out = len(images) - WORDED
        images[WORDED - 1 : -1] = [f"({left_out:,} more)"]
    return f"{' = '.join(images)} by {_joined(rows)}, but {claim}"


def _members(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """The columns of the pairs that a row holds."""
    if "anchor" not in frame.columns:
        return [PAIR_COLUMNS[:2]]
    members = [_GENUINE, ("anchor", "negative")]
    if "negative2" in frame.columns:
        members += [("anchor", "negative2"), ("negative", "negative2")]
    return members


def _chain(predecessors: Ints, start: int, end: int) -> list[int]:
    chain = [end]
    while chain[-1] != start:
        chain.append(int(predecessors[chain[-1]]))
    return chain[::-1]


def _edge(graph: csr_array, edge_pairs: Ints, source: int, target: int) -> int:
    begin, end = graph.indptr[source], graph.indptr[source + 1]
    return int(edge_pairs[begin + np.searchsorted(graph.indices[begin:end], target)])


def _joined(rows: list[str]) -> str:
    """`row 3`, `rows 3 and 7`, `rows 3, 7 and 9`."""
    word = rows[0].partition(" ")[0]
    numbers = [row.partition(" ")[2] for row in rows]
    if len(numbers) == 1:
        return rows[0]
    if len(numbers) >= WORDED:
        numbers[WORDED - 2 : -1] = ["..."]
    return f"{word}s {', '.join(numbers[:-1])} and {numbers[-1]}"
