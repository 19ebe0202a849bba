"""Mining against loops over every triplet of a batch."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.miners import BatchEasyHardMiner, BatchHardMiner
from torch import Tensor

from siamese.losses.batch import PairIndex, QuadrupletIndex, TripletIndex
from siamese.losses.mining import Miner, mine_pairs, mine_quadruplets, mine_triplets, relations

MINERS: tuple[Miner, ...] = ("all", "semihard", "hard", "easy-hard", "distance")
Triple = tuple[int, int, int]


def random_batch(seed: int, images: int = 14, identities: int = 4, dim: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(images, dim, dtype=torch.float64, generator=generator), dim=1)
    return embeddings, torch.randint(identities, (images,), generator=generator)


def triples(index: TripletIndex) -> list[Triple]:
    return list(zip(index.anchor.tolist(), index.positive.tolist(), index.negative.tolist(), strict=True))


def every_triplet(labels: Tensor, anchors: int | None = None) -> list[Triple]:
    size = len(labels)
    return [
        (a, p, n)
        for a, p, n in itertools.product(range(anchors or size), range(size), range(size))
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


def semihard(similarity: Tensor, labels: Tensor, anchors: int | None = None) -> list[Triple]:
    chosen = []
    for (a, p), group in itertools.groupby(every_triplet(labels, anchors), key=lambda triple: triple[:2]):
        negatives = [n for *_, n in group]
        farther = [n for n in negatives if similarity[a, n] < similarity[a, p]]
        best = max(farther, key=lambda n: float(similarity[a, n])) if farther else None
        chosen.append((a, p, best if best is not None else min(negatives, key=lambda n: float(similarity[a, n]))))
    return chosen


def one_an_anchor(similarity: Tensor, labels: Tensor, anchors: int | None, *, easy: bool) -> list[Triple]:
    chosen = []
    for a, group in itertools.groupby(every_triplet(labels, anchors), key=lambda triple: triple[0]):
        found = list(group)
        best = max if easy else min
        p = best((p for _, p, _ in found), key=lambda p: float(similarity[a, p]))
        chosen.append((a, p, max((n for *_, n in found), key=lambda n: float(similarity[a, n]))))
    return chosen


@pytest.mark.parametrize("anchors", [None, 6])
@pytest.mark.parametrize("seed", range(5))
def test_deterministic_miners_choose_what_a_loop_over_all_triplets_chooses(seed: int, anchors: int | None) -> None:
    embeddings, labels = random_batch(seed)
    similarity = embeddings @ embeddings.T
    assert triples(mine_triplets(embeddings, labels, "semihard", anchors=anchors)) == semihard(
        similarity, labels, anchors
    )
    for miner, easy in (("hard", False), ("easy-hard", True)):
        mined = mine_triplets(embeddings, labels, miner, anchors=anchors)  # type: ignore[arg-type]
        assert triples(mined) == one_an_anchor(similarity, labels, anchors, easy=easy)


@pytest.mark.parametrize("seed", range(3))
def test_hard_miners_agree_with_pytorch_metric_learning(seed: int) -> None:
    embeddings, labels = random_batch(seed)
    batch_hard = BatchHardMiner()(embeddings, labels)
    assert triples(mine_triplets(embeddings, labels, "hard")) == triples(TripletIndex(*batch_hard))
    a, p, other, n = BatchEasyHardMiner(pos_strategy="easy", neg_strategy="hard")(embeddings, labels)
    negatives = dict(zip(other.tolist(), n.tolist(), strict=True))
    expected = [(i, j, negatives[i]) for i, j in zip(a.tolist(), p.tolist(), strict=True) if i in negatives]
    assert triples(mine_triplets(embeddings, labels, "easy-hard")) == expected


@pytest.mark.parametrize("miner", ["all", "distance"])
@pytest.mark.parametrize("seed", range(3))
def test_drawing_miners_give_each_genuine_pair_one_of_its_negatives(miner: Miner, seed: int) -> None:
    embeddings, labels = random_batch(seed)
    possible = every_triplet(labels)
    drawn = triples(mine_triplets(embeddings, labels, miner, seed=seed))
    assert set(drawn) <= set(possible)
    assert [triple[:2] for triple in drawn] == sorted({triple[:2] for triple in possible})


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    embeddings, labels = random_batch(0, images=40)
    state = torch.get_rng_state()
    first, again, other = (triples(mine_triplets(embeddings, labels, "all", seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), state)


def test_all_draws_every_negative_about_equally_often() -> None:
    embeddings, labels = random_batch(1, images=6, identities=2)
    labels = torch.tensor([0, 0, 1, 1, 1, 1])
    counts = torch.zeros(6)
    for seed in range(400):
        counts[mine_triplets(embeddings, labels, "all", seed=seed).negative[:2]] += 1
    # 800 draws among four: 200 each, and a standard deviation of 12.
    assert ((counts[2:] - 200).abs() < 60).all()


def test_distance_draws_in_proportion_to_the_inverse_density_on_the_sphere() -> None:
    dim = 16
    wanted = torch.tensor([0.3, 0.5, 0.8, 1.1, 1.3, 1.5], dtype=torch.float64)
    cosines = torch.cat((torch.ones(2, dtype=torch.float64), 1 - wanted**2 / 2))
    embeddings = torch.zeros(8, dim, dtype=torch.float64)
    embeddings[:, 0] = cosines
    embeddings[torch.arange(2, 8), torch.arange(1, 7)] = (1 - cosines[2:] ** 2).sqrt()
    labels = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    counts = torch.zeros(6, dtype=torch.float64)
    for seed in range(1500):
        counts[mine_triplets(embeddings, labels, "distance", seed=seed).negative[:2] - 2] += 1
    # q(d) ~ d^(D-2) (1 - d^2/4)^((D-3)/2); nearer than .5 counts as .5, farther than 1.4 is never drawn.
    cut = wanted.clamp_min(0.5)
    density = cut ** (dim - 2) * (1 - cut**2 / 4) ** ((dim - 3) / 2)
    weights = torch.where(wanted > 1.4, 0.0, 1 / density)
    assert counts[-1] == 0
    torch.testing.assert_close(counts / counts.sum(), weights / weights.sum(), atol=0.03, rtol=0)


def test_distance_draws_evenly_where_every_negative_is_far() -> None:
    embeddings = torch.eye(4, dtype=torch.float64)[[0, 0, 1, 2, 3]]
    labels = torch.tensor([0, 0, 1, 2, 3])
    drawn = {int(mine_triplets(embeddings, labels, "distance", seed=seed).negative[0]) for seed in range(40)}
    assert drawn == {2, 3, 4}


@pytest.mark.parametrize("anchors", [None, 5])
def test_all_pairs_are_every_two_rows_once(anchors: int | None) -> None:
    embeddings, labels = random_batch(2)
    mined = mine_pairs(embeddings, labels, "all", anchors=anchors)
    size = len(labels)
    expected = [(i, j) for i in range(anchors or size) for j in range(i + 1, size)]
    assert list(zip(mined.left.tolist(), mined.right.tolist(), strict=True)) == expected
    assert mined.same.tolist() == [float(labels[i] == labels[j]) for i, j in expected]


@pytest.mark.parametrize("miner", MINERS[1:])
def test_mined_pairs_are_the_two_of_each_mined_triplet(miner: Miner) -> None:
    embeddings, labels = random_batch(3)
    triplets, mined = mine_triplets(embeddings, labels, miner), mine_pairs(embeddings, labels, miner)
    half = len(triplets.anchor)
    assert mined.left.tolist() == triplets.anchor.tolist() * 2
    assert mined.right[:half].tolist() == triplets.positive.tolist()
    assert mined.right[half:].tolist() == triplets.negative.tolist()
    assert mined.same.tolist() == [1.0] * half + [0.0] * half


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("seed", range(4))
def test_quadruplets_are_the_triplets_with_an_image_of_a_third_identity(miner: Miner, seed: int) -> None:
    embeddings, labels = random_batch(seed)
    mined = mine_quadruplets(embeddings, labels, miner, seed=seed)
    assert triples(TripletIndex(mined.anchor, mined.positive, mined.negative)) == triples(
        mine_triplets(embeddings, labels, miner, seed=seed)
    )
    seen = torch.stack([labels[mined.anchor], labels[mined.negative], labels[mined.second_negative]])
    assert (seen[0] != seen[1]).all()
    assert (seen[0] != seen[2]).all()
    assert (seen[1] != seen[2]).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_hard_second_negative_is_the_nearest_of_a_third_identity(seed: int) -> None:
    embeddings, labels = random_batch(seed)
    mined = mine_quadruplets(embeddings, labels, "hard")
    similarity = embeddings @ embeddings.T
    rows = zip(mined.anchor.tolist(), mined.negative.tolist(), mined.second_negative.tolist(), strict=True)
    for anchor, negative, second in rows:
        third = [i for i in range(len(labels)) if labels[i] not in (labels[anchor], labels[negative])]
        assert second == max(third, key=lambda i: float(similarity[negative, i]))


def test_second_negatives_are_drawn_evenly_among_all_third_identities_images() -> None:
    embeddings, _ = random_batch(0, images=6)
    labels = torch.tensor([0, 0, 1, 2, 2, 3])
    counts = torch.zeros(6)
    for seed in range(900):
        mined = mine_quadruplets(embeddings, labels, "semihard", seed=seed)
        counts[mined.second_negative[:1]] += 1
    third = [i for i in range(2, 6) if labels[i] != labels[mined.negative[0]]]
    share = 900 / len(third)
    assert counts.sum() == counts[third].sum()
    assert ((counts[third] - share).abs() < 75).all()  # some five standard deviations


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [4, 4, 4, 4], [1]], ids=["strangers", "one identity", "one image"])
def test_nothing_is_mined_where_there_is_no_triplet(miner: Miner, labels: list[int]) -> None:
    embeddings = random_batch(0)[0][: len(labels)]
    numbers = torch.tensor(labels)
    assert triples(mine_triplets(embeddings, numbers, miner)) == []
    quadruplets: QuadrupletIndex = mine_quadruplets(embeddings, numbers, miner)
    assert len(quadruplets.second_negative) == 0
    if miner != "all":
        pairs: PairIndex = mine_pairs(embeddings, numbers, miner)
        assert len(pairs.left) == 0


@pytest.mark.parametrize("miner", MINERS)
def test_two_identities_have_no_quadruplets(miner: Miner) -> None:
    embeddings, _ = random_batch(0, images=4)
    assert len(mine_quadruplets(embeddings, torch.tensor([0, 0, 1, 1]), miner).anchor) == 0


def test_no_row_is_related_to_itself_and_any_two_are_in_one_way() -> None:
    labels = torch.tensor([0, 1, 0, 2, 1])
    same, different = relations(labels, 3)
    assert same.shape == different.shape == (3, 5)
    both = same | different
    assert not (same & different).any()
    assert not both.diagonal().any()
    assert both.sum() == 3 * 4


@pytest.mark.parametrize("miner", MINERS)
def test_memory_grows_with_the_square_of_the_batch(miner: Miner) -> None:
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for each in result if isinstance(result, tuple | list) else (result,):
                largest = max(largest, each.numel() if isinstance(each, Tensor) else 0)
            return result

    embeddings, _ = random_batch(0, images=96)
    labels = torch.arange(12).repeat_interleave(8)
    with Watch():  # type: ignore[no-untyped-call]
        mine_pairs(embeddings, labels, miner)
        mine_quadruplets(embeddings, labels, miner)
    assert 96 * 96 <= largest <= 4 * 96 * 96
