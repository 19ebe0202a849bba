"""What is wrong with pair tables and catalogs, told from the tables alone: no image is opened."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal, Self, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.pairing.closure import Ints, PairIndex, conflicting, explain_conflicts, word_conflict

Kind = Literal[
    "unreadable",
    "missing_image",
    "exact_duplicate",
    "near_duplicate",
    "single_image",
    "split_overlap",
    "contradiction",
    "transitive_contradiction",
    "identity_contradiction",
    "duplicate_pair",
    "self_pair",
    "missing_label",
    "one_kind",
    "label_suspect",
]
# In the order in which they are reported; the names are part of the JSON that scripts read.
KINDS: tuple[Kind, ...] = get_args(Kind)
# Problems of one kind that are listed one by one unless told otherwise; all are counted.
LIMIT = 1000


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: one of `KINDS`.
        where: the image, the row of a file, or the files concerned.
        detail: what was found, in words.
    """

    kind: Kind
    where: str
    detail: str


@dataclass(frozen=True)
class Findings:
    """Problems found: the first of each kind, and how many there are.

    Attributes:
        problems: ordered by kind as in `KINDS`, then as they were found.
        counts: problems of each kind that was found, those not listed included.
    """

    problems: tuple[Problem, ...] = ()
    counts: Mapping[Kind, int] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Iterable["Findings"], limit: int = LIMIT) -> Self:
        """Put findings together; of each kind the first `limit` stay listed."""
        found = list(parts)
        problems: list[Problem] = []
        counts: dict[Kind, int] = {}
        for kind in KINDS:
            number = sum(part.counts.get(kind, 0) for part in found)
            if number:
                counts[kind] = number
                problems += [problem for part in found for problem in part.problems if problem.kind == kind][:limit]
        return cls(tuple(problems), counts)

    def lines(self, shown: int = 3, suspects: int = 10) -> list[str]:
        """For each kind a line with its count, then one line for each of the first few problems.

        Args:
            shown: problems of a kind to show.
            suspects: label suspects to show; they are ranked, the strongest first.
        """
        lines = []
        for kind, number in self.counts.items():
            lines.append(f"{kind}: {number:,}")
            of_kind = [problem for problem in self.problems if problem.kind == kind]
            of_kind = of_kind[: suspects if kind == "label_suspect" else shown]
            lines += [f"  {problem.where}: {problem.detail}" for problem in of_kind]
            if number > len(of_kind):
                lines.append(f"  and {number - len(of_kind):,} more")
        return lines


def listed(kind: Kind, found: Ints, word: Callable[[int], tuple[str, str]], limit: int = LIMIT) -> Findings:
    """Findings of one kind.

    Args:
        kind: their kind.
        found: what was found, as positions.
        word: turns a position into `where` and `detail`; called for the first `limit` only.
        limit: problems to list.
    """
    if not len(found):
        return Findings()
    problems = tuple(Problem(kind, *word(position)) for position in found[:limit].tolist())
    return Findings(problems, {kind: len(found)})


def cheap_findings(
    train: pd.DataFrame,
    val: pd.DataFrame,
    *,
    names: tuple[str, str] = ("training", "validation"),
    limit: int = 20,
) -> Findings:
    """What is wrong with the tables of a training run, without opening an image: seconds at a million rows.

    Args:
        train: checked pair or triplet table.
        val: checked pair table.
        names: what messages call them.
        limit: problems of a kind to list.
    """
    return table_findings(dict(zip(names, (train, val), strict=True)), limit=limit)


def table_findings(tables: Mapping[str, pd.DataFrame], *, limit: int = LIMIT) -> Findings:
    """What is wrong with pair or triplet tables, each by itself and against each other.

    Args:
        tables: checked tables by the name of their file.
        limit: problems of a kind to list.

    Returns:
        Kinds `split_overlap`, `contradiction`, `transitive_contradiction`, `identity_contradiction`,
        `duplicate_pair`, `self_pair`, `missing_label`, `one_kind`. A table without any label is a list to be scored,
        and no problem.
    """
    indexed = {name: PairIndex.of(table) for name, table in tables.items()}
    parts = [_of_table(name, index, limit) for name, index in indexed.items()]
    parts += [_overlap(*pair, limit) for pair in combinations(indexed.items(), 2)]
    return Findings.joined(parts, limit)


def catalog_findings(images: pd.DataFrame, *, limit: int = LIMIT) -> Findings:
    """What is wrong with a catalog, a table with `path`, `identity` and optional `split`.

    Returns:
        Kinds `single_image` and `split_overlap`.
    """
    paths, names = (images[name].to_numpy(dtype=object) for name in ("path", "identity"))
    alone = ~images["identity"].duplicated(keep=False).to_numpy(dtype=bool)
    single = listed(
        "single_image",
        np.flatnonzero(alone),
        lambda row: (paths[row], f"the only image of {names[row]!r}: no genuine pair can be made of it"),
        limit,
    )
    if "split" not in images.columns:
        return single
    places = images[["identity", "split"]].dropna().drop_duplicates()
    shared = places[places["identity"].duplicated(keep=False)].groupby("identity", sort=False)["split"].agg(list)
    overlap = listed(
        "split_overlap",
        np.arange(len(shared)),
        lambda row: (", ".join(map(str, shared.iloc[row])), f"identity {shared.index[row]!r} is in each of them"),
        limit,
    )
    return Findings.joined([single, overlap], limit)


def _of_table(name: str, index: PairIndex, limit: int) -> Findings:
    parts = [_self_pairs(name, index, limit), _transitive(name, index, limit), _identities(name, index, limit)]
    parts += [*_repeated(name, index, limit), _labels(name, index)]
    return Findings.joined(parts, limit)


def _self_pairs(name: str, index: PairIndex, limit: int) -> Findings:
    found = np.flatnonzero(index.left == index.right)
    return listed(
        "self_pair",
        found,
        lambda pair: (f"{name} {index.row(pair)}", f"{index.paths[index.left[pair]]} is paired with itself"),
        limit,
    )


def _repeated(name: str, index: PairIndex, limit: int) -> list[Findings]:
    """Pairs that an earlier row names already, in either order: with the same label, or with the other one."""
    first = index.first_of_pair()
    again = first != np.arange(len(first))
    opposed = index.labelled & (index.same != index.same[first]) & index.labelled[first]

    def worded(pair: int) -> tuple[str, str]:
        left, right, earlier = index.paths[index.left[pair]], index.paths[index.right[pair]], index.row(first[pair])
        if not opposed[pair]:
            return f"{name} {index.row(pair)}", f"repeats {earlier}: {left} and {right}"
        says, other = ("same", "different") if index.same[pair] else ("different", "same")
        return f"{name} {index.row(pair)}", f"says {left} and {right} are {says}, but {earlier} says {other}"

    # Triplets repeat pairs of one another by their nature.
    repeated = again & ~opposed & (not index.several)
    return [
        listed("contradiction", np.flatnonzero(opposed), worded, limit),
        listed("duplicate_pair", np.flatnonzero(repeated), worded, limit),
    ]


def _transitive(name: str, index: PairIndex, limit: int) -> Findings:
    components = index.components()
    found = conflicting(index, components)
    # A pair called both same and different, and an image different from itself, are reported as what they are.
    direct = np.isin(index.keys[found], index.keys[index.same])
    found = found[~direct & (index.left[found] != index.right[found])]
    conflicts = explain_conflicts(index, found[:limit], components)
    problems = tuple(
        Problem("transitive_contradiction", f"{name} {index.row(conflict.row)}", word_conflict(index.frame, conflict))
        for conflict in conflicts
    )
    return Findings(problems, {"transitive_contradiction": len(found)} if len(found) else {})


def _labels(name: str, index: PairIndex) -> Findings:
    missing, impostors = np.flatnonzero(~index.labelled), int(index.impostor.sum())
    genuine = int(index.same.sum())
    if not genuine + impostors:
        return Findings()
    problems = []
    if len(missing):
        detail = f"{len(missing):,} of {len(index.left):,} rows have no label; the first is {index.row(missing[0])}"
        problems.append(Problem("missing_label", name, detail))
    if not genuine or not impostors:
        lacking, there = ("genuine", impostors) if not genuine else ("impostor", genuine)
        other = "impostor" if not genuine else "genuine"
        problems.append(Problem("one_kind", name, f"all {there:,} labelled pairs are {other}, none is {lacking}"))
    return Findings(tuple(problems), {problem.kind: 1 for problem in problems})


def _identities(name: str, index: PairIndex, limit: int) -> Findings:
    """Labels that the identity columns contradict, and images that are given two identities."""
    named = index.identities()
    if named is None:
        return Findings()
    left, right = named
    known = ~(pd.isna(left) | pd.isna(right)) & index.labelled
    wrong = np.flatnonzero(known & (index.same != (left == right)))

    def mislabelled(pair: int) -> tuple[str, str]:
        says = "same" if index.same[pair] else "different"
        detail = f"says {says}, but its identities are {left[pair]!r} and {right[pair]!r}"
        return f"{name} {index.row(pair)}", detail

    images, names = np.concatenate([index.left, index.right]), np.concatenate([left, right])
    first = _first_named(images, names)
    twice = np.flatnonzero(~pd.isna(names) & (names != names[first]))
    twice = twice[np.unique(images[twice], return_index=True)[1]]
    pairs = len(index.left)

    def renamed(position: int) -> tuple[str, str]:
        earlier = f"{names[first[position]]!r} in {index.row(first[position] % pairs)}"
        detail = f"{index.paths[images[position]]} is {names[position]!r} here and {earlier}"
        return f"{name} {index.row(position % pairs)}", detail

    kind: Kind = "identity_contradiction"
    return Findings.joined([listed(kind, wrong, mislabelled, limit), listed(kind, twice, renamed, limit)], limit)


def _first_named(images: Ints, names: NDArray[np.object_]) -> Ints:
    """For every mention of an image the first mention that gives it an identity."""
    known = np.flatnonzero(~pd.isna(names))[::-1]  # of several assignments to an image the last one holds
    first = np.zeros(int(images.max(initial=-1)) + 1, np.int64)
    first[images[known]] = known
    return first[images]


def _overlap(one: tuple[str, PairIndex], other: tuple[str, PairIndex], limit: int) -> Findings:
    """Identities that two files share, and the images they share beyond those."""
    where = f"{one[0]}, {other[0]}"
    identities = [_identity_of(index) for _, index in (one, other)]
    known = set(pd.unique(identities[0])) & set(pd.unique(identities[1])) - {None}
    images = set(one[1].paths) & set(other[1].paths)
    if known and images:
        for (_, index), names in zip((one, other), identities, strict=True):
            images -= set(index.paths[pd.Series(names, dtype=object).isin(known).to_numpy()])
    shared = [f"identity {name!r}" for name in sorted(known)] + [f"image {path}" for path in sorted(images)]
    return listed("split_overlap", np.arange(len(shared)), lambda row: (where, f"{shared[row]} is in both"), limit)


def _identity_of(index: PairIndex) -> NDArray[np.object_]:
    """The identity that is first named for each image, None where there is none, shape (N,)."""
    found = np.full(len(index.paths), None, dtype=object)
    named = index.identities()
    if named is not None:
        images, names = np.concatenate([index.left, index.right]), np.concatenate(named)
        known = np.flatnonzero(~pd.isna(names))[::-1]  # of several assignments to an image the last one holds
        found[images[known]] = names[known]
    return found
