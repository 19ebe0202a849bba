"""Online mining: pairs, triplets and quadruplets chosen within a batch by its labels, in O(U^2) memory.

For each genuine pair (or each anchor) one negative is chosen, so no tensor has an axis for anchors, one for
positives and one for negatives.
"""

from typing import Literal

import torch
from torch import Tensor

from siamese.losses.batch import PairIndex, QuadrupletIndex, TripletIndex
from siamese.similarity import squared_distance

# `auto`: the tuples of a file where the batch has them, otherwise what suits the loss.
Mining = Literal["auto", "all", "semihard", "hard", "easy-hard", "distance"]
Miner = Literal["all", "semihard", "hard", "easy-hard", "distance"]

# Wu et al. 2017, section 4 and its published code: nearer negatives are drawn as if this far (their gradient is
# noise); beyond the second distance a margin loss is zero.
_NEAREST, _FARTHEST = 0.5, 1.4


def mine_pairs(
    embeddings: Tensor, labels: Tensor, miner: Miner, *, anchors: int | None = None, seed: int = 0
) -> PairIndex:
    """Choose pairs among unit embeddings by their labels.

    `all` gives every pair of two rows once; any other miner gives the two pairs of each of its triplets.

    Args:
        embeddings: shape (R, D).
        labels: identity of each row, shape (R,).
        miner: one of the five ways that `mine_triplets` describes.
        anchors: that only the first so many rows may be on the left (the others are a memory); None for all.
        seed: of what is drawn.
    """
    if miner != "all":
        return pairs_of_triplets(mine_triplets(embeddings, labels, miner, anchors=anchors, seed=seed))
    same, different = relations(labels, anchors)
    left, right = (same | different).triu(1).nonzero(as_tuple=True)
    return PairIndex(left, right, same[left, right].to(embeddings.dtype))


@torch.no_grad()
def mine_triplets(
    embeddings: Tensor, labels: Tensor, miner: Miner, *, anchors: int | None = None, seed: int = 0
) -> TripletIndex:
    """Choose triplets among unit embeddings by their labels.

    For each genuine pair (a, p) of an anchor that has a negative:

    - `all`: a negative drawn evenly, so that the mean over a batch estimates the mean over all triplets;
    - `semihard`: the nearest negative farther than p, or where there is none the farthest (Schroff et al.,
      "FaceNet", CVPR 2015, section 3.2);
    - `distance`: a negative drawn with the inverse of the density of distances between random points on the sphere,
      so that all distances up to 1.4 occur (Wu et al., "Sampling Matters in Deep Embedding Learning", ICCV 2017,
      section 4).

    For each anchor that has both:

    - `hard`: the farthest positive and the nearest negative (Hermans et al., "In Defense of the Triplet Loss",
      2017, equation 5);
    - `easy-hard`: the nearest of both (Xuan et al., "Improved Embeddings with Easy Positive Triplet Mining",
      WACV 2020).

    Args:
        embeddings: shape (R, D).
        labels: identity of each row, shape (R,).
        miner: one of the five above.
        anchors: that only the first so many rows are anchors (the others are a memory); None for all.
        seed: of what is drawn.

    Returns:
        Triplets in the order of their anchors; none where no identity shows twice, or only one shows.
    """
    same, different = relations(labels, anchors)
    similarity = embeddings[: len(same)] @ embeddings.T
    if miner in ("hard", "easy-hard"):
        return _one_an_anchor(similarity, same, different, easy=miner == "easy-hard")
    anchor, positive = (same & different.any(dim=1, keepdim=True)).nonzero(as_tuple=True)
    if miner == "semihard":
        negative = _semihard(similarity, different, anchor, positive)
    else:
        weights = different.float()
        if miner == "distance":
            weights = _inverse_density(similarity, different, embeddings.shape[1])
        negative = _draw(weights, same, anchor, positive, seed)
    return TripletIndex(anchor, positive, negative)


@torch.no_grad()
def mine_quadruplets(embeddings: Tensor, labels: Tensor, miner: Miner, *, seed: int = 0) -> QuadrupletIndex:
    """Choose triplets as `mine_triplets` does, and to each an image of a third identity.

    The second negative is the nearest to the first for `hard` and `easy-hard`, and drawn evenly for the others.
    Triplets for which a batch has no third identity are left out.
    """
    triplets = mine_triplets(embeddings, labels, miner, seed=seed)
    _, different = relations(labels, None)
    if miner in ("hard", "easy-hard"):
        scores = embeddings @ embeddings.T
    else:
        scores = torch.rand(different.shape, generator=_generator(seed + 1, labels), device=labels.device)
    scores = scores.masked_fill(~different, -torch.inf)
    # Two candidates of two identities for each first negative: one of them is not of the anchor's identity.
    first = scores.argmax(dim=1)
    rest = scores.masked_fill(labels[first][:, None] == labels, -torch.inf)
    of_anchor = labels[first[triplets.negative]] == labels[triplets.anchor]
    second = torch.where(of_anchor, rest.argmax(dim=1)[triplets.negative], first[triplets.negative])
    kept = ~of_anchor | rest.isfinite().any(dim=1)[triplets.negative]
    chosen = (triplets.anchor, triplets.positive, triplets.negative, second)
    return QuadrupletIndex(*(rows[kept] for rows in chosen))


def relations(labels: Tensor, anchors: int | None = None) -> tuple[Tensor, Tensor]:
    """Which rows are of the anchors' identities and which are not: two masks (A, R).

    No row is related to itself.
    """
    same = labels[:anchors, None] == labels
    different = ~same
    same.fill_diagonal_(False)
    return same, different


def pairs_of_triplets(triplets: TripletIndex) -> PairIndex:
    """A genuine and an impostor pair of each triplet; the genuine ones first."""
    anchor = triplets.anchor
    same = torch.zeros(2 * len(anchor), device=anchor.device)
    same[: len(anchor)] = 1.0
    return PairIndex(anchor.repeat(2), torch.cat((triplets.positive, triplets.negative)), same)


def _one_an_anchor(similarity: Tensor, same: Tensor, different: Tensor, *, easy: bool) -> TripletIndex:
    if easy:
        positive = similarity.masked_fill(~same, -torch.inf).argmax(dim=1)
    else:
        positive = similarity.masked_fill(~same, torch.inf).argmin(dim=1)
    negative = similarity.masked_fill(~different, -torch.inf).argmax(dim=1)
    (anchor,) = (same.any(dim=1) & different.any(dim=1)).nonzero(as_tuple=True)
    return TripletIndex(anchor, positive[anchor], negative[anchor])


def _semihard(similarity: Tensor, different: Tensor, anchor: Tensor, positive: Tensor) -> Tensor:
    # Negatives of each anchor from the farthest to the nearest; how many are farther than a row is where it belongs.
    ordered, order = similarity.masked_fill(~different, torch.inf).sort(dim=1)
    farther = torch.searchsorted(ordered, similarity.contiguous())[anchor, positive]
    return order[anchor, (farther - 1).clamp_min(0)]


def _inverse_density(similarity: Tensor, different: Tensor, dim: int) -> Tensor:
    """Weights (A, R) of negatives, the largest of each anchor 1: q(d)^-1 of Wu et al., section 4."""
    squared = squared_distance(similarity).clamp(_NEAREST**2, 3.999)
    log_density = (dim - 2) / 2 * squared.log() + (dim - 3) / 2 * (1 - squared / 4).log()
    eligible = different & (squared < _FARTHEST**2)
    # An anchor whose negatives are all far draws evenly among them.
    log_weights = torch.where(eligible.any(dim=1, keepdim=True), -log_density, 0.0)
    eligible = torch.where(eligible.any(dim=1, keepdim=True), eligible, different)
    log_weights = log_weights.masked_fill(~eligible, -torch.inf)
    return (log_weights - log_weights.amax(dim=1, keepdim=True)).exp()


def _draw(weights: Tensor, same: Tensor, anchor: Tensor, positive: Tensor, seed: int) -> Tensor:
    """A column for each genuine pair, with the probabilities that the row of its anchor has in `weights`."""
    if not len(anchor):
        return positive
    # Every anchor draws as often as the one with the most positives needs: the rows must be equally long.
    usable = weights.nan_to_num(0.0)
    usable = torch.where(usable.sum(dim=1, keepdim=True) > 0, usable, 1.0)
    most = int(same.sum(dim=1).max())
    drawn = torch.multinomial(usable, most, replacement=True, generator=_generator(seed, weights))
    turn = same.cumsum(dim=1)[anchor, positive] - 1
    return drawn[anchor, turn]


def _generator(seed: int, like: Tensor) -> torch.Generator:
    return torch.Generator(like.device).manual_seed(seed)
