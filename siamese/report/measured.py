"""What was measured, as plain values: the rows and cells of a report."""

from dataclasses import dataclass

from siamese.errors import DataError


@dataclass(frozen=True)
class Figure:
    """A measured number with its interval.

    Attributes:
        name: of the metric, the same in every model, such as `accuracy` or `TAR at FAR 0.001`.
        value: None is *insufficient data*.
        low: lower end of its interval, None without one.
        high: upper end of its interval, None without one.
        note: a remark in words, such as `on the split the threshold was fitted on`; may be empty.
        percent: show a share as a percentage.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Fact:
    """A row of what a model is, or of what was measured.

    Attributes:
        name: such as `encoder` or `threshold fitted on`.
        value: in words.
        warning: in words, what is doubtful about it (a threshold fitted on the pairs it is read on); empty: nothing.
    """

    name: str
    value: str
    warning: str = ""


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram.

    Attributes:
        probability: mean P(same) of its pairs.
        genuine: share of them that are genuine.
        low: lower end of that share's interval.
        high: upper end of that share's interval.
        pairs: how many, 1 or more.
    """

    probability: float
    genuine: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Reliability:
    """How far a model's probabilities can be believed.

    Attributes:
        bins: at rising probabilities, at least one.
        ece: expected calibration error.
        brier: Brier score.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float
    brier: float


@dataclass(frozen=True)
class Slice:
    """One part of the pairs, measured; the slices of a column are given worst first.

    Attributes:
        column: that the pairs are parted by.
        value: of that column.
        genuine: pairs in the slice.
        impostor: pairs in the slice.
        figures: the first one is drawn.
    """

    column: str
    value: str
    genuine: int
    impostor: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Matches:
    """False matches between groups of identities.

    Attributes:
        groups: names of the G groups.
        far: share of the impostor pairs of two groups that was accepted, G rows of G; None is *insufficient data*.
        impostors: how many pairs those are, G rows of G.
    """

    groups: tuple[str, ...]
    far: tuple[tuple[float | None, ...], ...]
    impostors: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        size = len(self.groups)
        for name, rows in (("far", self.far), ("impostors", self.impostors)):
            if [len(row) for row in rows] != [size] * size:
                raise DataError(f"false matches, {name}: expected {size} rows of {size}, one for each group")


@dataclass(frozen=True)
class Diagnostics:
    """What a model's embeddings and scores look like before any threshold.

    Attributes:
        alignment: mean squared distance of two embeddings of one identity; None where no identity has two images, or
            where scores come without embeddings.
        uniformity: log of the mean of exp(-2 squared distance) of two embeddings; None as above.
        genuine_mean: mean score of the genuine pairs.
        genuine_std: standard deviation of them, None for a single pair.
        impostor_mean: mean score of the impostor pairs.
        impostor_std: standard deviation of them, None for a single pair.
        d_prime: how many root mean square deviations lie between the two means; None where that is not known.
    """

    alignment: float | None
    uniformity: float | None
    genuine_mean: float
    genuine_std: float | None
    impostor_mean: float
    impostor_std: float | None
    d_prime: float | None
