"""What `siamese make-pairs` is asked for, and requests whose options contradict each other."""

from dataclasses import dataclass
from typing import Literal

from siamese.errors import OptionError, unknown_name
from siamese.pairing.drawing import Balance, check_balance
from siamese.pairing.formats import PAIR_FORMATS, TUPLE_FORMATS
from siamese.pairing.grouped import GroupRule

Kind = Literal["pairs", "triplets", "quadruplets"]
KINDS = ("pairs", "triplets", "quadruplets")


@dataclass(frozen=True)
class MakePairs:
    """What to make.

    Attributes:
        kind: `pairs`, `triplets` or `quadruplets`.
        num_pairs: rows over all files together; None for as many as the data carries well, file by file.
        ratio: genuine to impostor.
        shares: shares of identities for train, validation and, if there are three, test; None for one file, or for
            one of each split that the catalog names in a column `split`.
        folds: folds of a cross-validation in one file; None for none.
        format: any of `formats.PAIR_FORMATS`; for triplets and quadruplets any of `formats.TUPLE_FORMATS`. Columns of
            identities, groups and similarity are left out where it has no place for them.
        seed: the same seed gives the same bytes.
        max_per_identity: the most genuine pairs of one identity (triplets, quadruplets: anchored in it); in hard
            pairs also the most impostor pairs that it is in. None for no bound.
        balance: what impostor pairs and negatives are even over, see `sampling.sample_pairs`.
        groups: which groups the two images of a pair may be of; None for all.
        all_pairs: every pair there is instead of a number of them.
        per_image: of hard pairs, the candidates per image; None for the default of `hard.hard_pairs`.
        skip_above: of hard pairs, leave out impostors of a similarity above it.
        skip_below: of hard pairs, leave out genuine pairs of a similarity below it.
    """

    kind: Kind = "pairs"
    num_pairs: int | None = None
    ratio: tuple[float, float] = (1, 1)
    shares: tuple[float, ...] | None = None
    folds: int | None = None
    format: str = "csv"
    seed: int = 0
    max_per_identity: int | None = None
    balance: Balance = "identity"
    groups: GroupRule | None = None
    all_pairs: bool = False
    per_image: int | None = None
    skip_above: float | None = None
    skip_below: float | None = None


def check_job(job: MakePairs, *, hard: bool) -> None:
    """Refuse names that are not known and options that contradict each other.

    Args:
        job: what to make.
        hard: whether vectors are given to mine hard pairs with.

    Raises:
        OptionError: names the options and what to leave out.
    """
    if job.format not in PAIR_FORMATS:
        raise unknown_name("format", job.format, PAIR_FORMATS)
    if job.kind not in KINDS:
        raise unknown_name("kind", job.kind, KINDS)
    check_balance(job.balance)
    for contradicts, message in (*_contradictions(job), *_of_hard(job, hard)):
        if contradicts:
            raise OptionError(message)


def _contradictions(job: MakePairs) -> list[tuple[bool, str]]:
    tuples, counted = job.kind != "pairs", (job.num_pairs, job.max_per_identity) != (None, None)
    return [
        (
            tuples and job.folds is not None,
            f"--kind {job.kind}: has no folds, which are for pairs; use --split",
        ),
        (
            tuples and job.format not in TUPLE_FORMATS,
            f"--kind {job.kind}: has no form {job.format!r}; use --format {', '.join(TUPLE_FORMATS)}",
        ),
        (
            job.format == "lines" and job.folds is not None,
            "--format lines: has no place for folds; use csv, tsv, parquet, lfw, rfw or calfw",
        ),
        (tuples and job.groups is not None, f"--kind {job.kind}: --groups is for pairs; leave one of them out"),
        (tuples and job.all_pairs, f"--kind {job.kind}: --all-pairs is for pairs; leave one of them out"),
        (
            job.kind == "quadruplets" and job.balance == "image",
            "--balance image: quadruplets are even over identities; leave it out",
        ),
        (
            job.folds is not None and job.shares is not None,
            "--split and --folds: give one of them; folds are a cross-validation in one file",
        ),
        (
            job.all_pairs and (counted or job.ratio[0] != job.ratio[1] or job.balance != "identity"),
            "--all-pairs: takes every pair; leave out --num-pairs, --ratio, --max-per-identity and --balance",
        ),
    ]


def _of_hard(job: MakePairs, hard: bool) -> list[tuple[bool, str]]:
    if not hard:
        lone = (job.per_image, job.skip_above, job.skip_below) != (None, None, None)
        return [(lone, "--per-image, --skip-above, --skip-below: are for hard pairs; give --hard MODEL too")]
    return [
        (job.kind == "quadruplets", "--hard: mines pairs or triplets; leave out --kind quadruplets"),
        (job.folds is not None, "--hard: has no folds, which are for measuring; leave out --folds"),
        (job.all_pairs, "--hard: chooses among pairs, --all-pairs takes them all; give one of them"),
        (job.groups is not None, "--hard: knows no --groups; leave out one of them"),
        (job.balance != "identity", "--hard: takes the most similar impostors; leave out --balance"),
    ]
