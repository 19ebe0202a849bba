import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from siamese.errors import DataError, OptionError
from siamese.evaluation import identification
from siamese.evaluation.identification import (
    Search,
    cmc,
    draw_gallery,
    fpir_at,
    measure_identification,
    numbered,
    ranks,
    search,
    search_blocks,
    threshold_at_fpir,
    top_k_accuracy,
    tpir_at,
    tpir_at_fpir,
)


def problem(seed: int, images: int = 60, identities: int = 9) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(images, identities)), random.integers(identities, size=images)


@pytest.mark.parametrize("k", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed: int, k: int) -> None:
    logits, labels = problem(seed)
    expected = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(9))
    assert top_k_accuracy(logits, labels, k) == pytest.approx(expected)


def test_top_one_is_the_accuracy_of_the_highest() -> None:
    logits, labels = problem(4)
    assert top_k_accuracy(logits, labels) == (logits.argmax(axis=1) == labels).mean()


def test_more_places_than_identities_hold_everybody() -> None:
    logits, labels = problem(5)
    assert top_k_accuracy(logits, labels, 9) == 1.0
    assert top_k_accuracy(logits, labels, 100) == 1.0


def test_of_equal_logits_the_first_identity_goes_first() -> None:
    logits = np.zeros((3, 3), np.float32)
    assert ranks(logits, np.array([0, 1, 2])).tolist() == [0, 1, 2]
    assert top_k_accuracy(logits, np.array([0, 1, 2])) == pytest.approx(1 / 3)


def test_scaling_logits_changes_nothing() -> None:
    logits, labels = problem(6)
    assert top_k_accuracy(3 * logits - 1, labels, 3) == top_k_accuracy(logits, labels, 3)


@pytest.mark.parametrize(
    ("logits", "labels", "k", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), 1, "labels from 0 to 3, expected 0 to 2"),
        (np.zeros((2, 3)), np.array([-1, 2]), 1, "labels from -1 to 2, expected 0 to 2"),
        (np.zeros((2, 3)), np.array([0, 1]), 0, "k=0: expected 1 or more"),
        (np.zeros((2, 3)), np.array([0]), 1, r"logits of shape \(2, 3\) and labels of shape \(1,\)"),
        (np.zeros((0, 3)), np.array([], np.int64), 1, "N above 0"),
        (np.full((1, 2), np.nan), np.array([0]), 1, "not numbers"),
    ],
)
def test_what_cannot_be_measured_is_refused(logits: np.ndarray, labels: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k_accuracy(logits, labels, k)


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = random.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def at_angles(*degrees: float) -> np.ndarray:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def by_loops(similarity: np.ndarray, probes: list[str], gallery: list[str]) -> list[tuple[float, float, int]]:
    """Best similarity, that of the right identity, and its rank, one probe after the other."""
    found = []
    for row, probe in zip(similarity, probes, strict=True):
        best: dict[str, float] = {}
        for value, identity in zip(row, gallery, strict=True):
            best[identity] = max(best.get(identity, -2.0), float(value))
        own = best.get(probe, np.nan)
        rank = sum(value >= own for name, value in best.items() if name != probe) if probe in best else -1
        found.append((max(best.values()), own, rank))
    return found


def open_set(seed: int, probes: int = 200, gallery: int = 60) -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:
    """Noisy embeddings of 40 people, of whom 30 are in the gallery."""
    random = np.random.default_rng(seed)
    centres = unit(random, 40, 8)
    enrolled, wanted = np.resize(np.arange(30), gallery), random.integers(40, size=probes)
    near = [centres[codes] + 0.4 * random.normal(size=(len(codes), 8)) for codes in (wanted, enrolled)]
    vectors = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in near]
    shuffled = random.permutation(gallery)
    names = [[f"p{code}" for code in codes] for codes in (wanted, enrolled[shuffled])]
    return vectors[0], names[0], vectors[1][shuffled], names[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_search_finds_what_loops_find(seed: int) -> None:
    probes, wanted, gallery, enrolled = open_set(seed)
    found = search(probes, wanted, gallery, enrolled)
    expected = by_loops(probes @ gallery.T, wanted, enrolled)
    np.testing.assert_allclose(found.best, [row[0] for row in expected], rtol=1e-12)
    np.testing.assert_allclose(found.own, [row[1] for row in expected], rtol=1e-12)
    assert found.ranks.tolist() == [row[2] for row in expected]
    assert found.mated.tolist() == [row[2] >= 0 for row in expected]
    assert (found.gallery, found.identities) == (60, 30)
    assert 0 < np.count_nonzero(found.mated) < 200


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_blocks_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    probes, wanted, gallery, enrolled = open_set(3)
    whole = search_blocks([probes @ gallery.T], wanted, enrolled)
    similarity = probes @ gallery.T
    parts = search_blocks((similarity[n : n + rows] for n in range(0, 200, rows)), wanted, enrolled)
    monkeypatch.setattr(identification, "_BLOCK", rows * len(gallery))
    computed = search(probes, wanted, gallery, enrolled)
    for other in (parts, computed):
        np.testing.assert_allclose(other.own, whole.own, rtol=1e-12)
        assert other.ranks.tolist() == whole.ranks.tolist()


def test_no_more_probes_are_held_than_a_block_has(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    searched = identification._searched

    def spy(block: np.ndarray, *rest: np.ndarray) -> tuple[np.ndarray, ...]:
        shapes.append(block.shape)
        return searched(block, *rest)

    monkeypatch.setattr(identification, "_searched", spy)
    monkeypatch.setattr(identification, "_BLOCK", 64 * 60)
    search(*open_set(4))
    assert shapes == [(64, 60), (64, 60), (64, 60), (8, 60)]


def test_order_of_gallery_and_probes_changes_no_figure() -> None:
    probes, wanted, gallery, enrolled = open_set(5)
    random = np.random.default_rng(0)
    some, others = random.permutation(len(probes)), random.permutation(len(gallery))
    shuffled = search(probes[some], np.array(wanted)[some], gallery[others], np.array(enrolled)[others])
    assert measure_identification(shuffled) == measure_identification(search(probes, wanted, gallery, enrolled))


def test_several_gallery_images_count_as_the_best_one() -> None:
    # The probe lies 10 degrees from one image of b and 20 from one of a; a's other image is far off.
    found = search(at_angles(0), ["b"], at_angles(20, 90, 10), ["a", "a", "b"])
    assert found.ranks.tolist() == [0]
    assert found.own[0] == pytest.approx(np.cos(np.radians(10)))
    found = search(at_angles(0), ["a"], at_angles(20, 90, 10), ["a", "a", "b"])
    assert found.ranks.tolist() == [1]


def test_a_tie_counts_against_the_probe() -> None:
    # Everything alike identifies nobody, in whatever order the gallery is.
    similarity = np.full((4, 4), 0.5)
    found = search_blocks([similarity], list("abcd"), list("abcd"))
    assert found.ranks.tolist() == [3, 3, 3, 3]
    assert [cmc(found, rank) for rank in (1, 3, 4)] == [0.0, 0.0, 1.0]
    # Two images of the right identity that tie with each other are no tie.
    assert search_blocks([np.array([[0.5, 0.5, 0.1]])], ["a"], ["a", "a", "b"]).ranks.tolist() == [0]


def test_cmc_is_the_share_of_mated_probes_within_the_rank() -> None:
    found = search(*open_set(6))
    mated = found.ranks[found.mated]
    for rank in (1, 5, 10):
        assert cmc(found, rank) == np.mean([place < rank for place in mated])
    assert cmc(found, 30) == 1.0
    with pytest.raises(OptionError, match="rank 0: expected 1 or more"):
        cmc(found, 0)


def mixed(strangers: np.ndarray, own: np.ndarray, ranks: np.ndarray) -> Search:
    """Searches of which the non-mated ones have the given best similarities."""
    mated = np.repeat([False, True], [len(strangers), len(own)])
    return Search(
        10,
        10,
        mated,
        np.concatenate((strangers, own)),
        np.concatenate((np.full(len(strangers), np.nan), own)),
        np.concatenate((np.full(len(strangers), -1), ranks)),
    )


@pytest.mark.parametrize("fpir", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_is_the_lowest_one_that_keeps_the_fpir(seed: int, fpir: float) -> None:
    random = np.random.default_rng(seed)
    strangers = random.normal(size=100).round(1)  # with ties
    found = mixed(strangers, random.normal(1, 1, 80), random.integers(0, 2, 80))
    threshold = threshold_at_fpir(found, fpir)
    assert threshold is not None
    assert np.mean(strangers >= threshold) <= fpir
    # Every lower threshold that decides differently exceeds it.
    assert np.mean(strangers >= strangers[strangers < threshold].max()) > fpir
    assert fpir_at(found, threshold) == np.mean(strangers >= threshold)
    own, places = found.own[found.mated], found.ranks[found.mated]
    expected = [score >= threshold and place < 1 for score, place in zip(own, places, strict=True)]
    assert tpir_at_fpir(found, fpir) == np.mean(expected)
    assert tpir_at(found, threshold, rank=2) == np.mean(own >= threshold)


def test_too_few_non_mated_probes_are_insufficient_data() -> None:
    own, places = np.ones(5), np.zeros(5, np.int64)
    assert threshold_at_fpir(mixed(np.linspace(0, 0.5, 29), own, places), 0.1) is None
    assert threshold_at_fpir(mixed(np.linspace(0, 0.5, 30), own, places), 0.1) is not None
    found = measure_identification(mixed(np.linspace(0, 0.5, 30), own, places))
    assert found.tpir_at_fpir == {"0.1": 1.0, "0.01": None, "0.001": None}
    assert found.cmc == {"1": 1.0, "5": 1.0, "10": 1.0}
    assert (found.mated, found.non_mated) == (5, 30)


def test_what_there_is_none_of_is_no_number() -> None:
    closed = search(at_angles(0, 1), ["a", "b"], at_angles(0, 90), ["a", "b"])
    assert fpir_at(closed, 0.5) is None
    assert tpir_at_fpir(closed, 0.1) is None
    strangers = search(at_angles(0, 1), ["x", "y"], at_angles(0, 90), ["a", "b"])
    assert cmc(strangers) is None
    assert tpir_at(strangers, 0.5) is None
    assert strangers.ranks.tolist() == [-1, -1]


@pytest.mark.parametrize("fpir", [0.0, 1.0, -0.1])
def test_rates_out_of_range_are_refused(fpir: float) -> None:
    with pytest.raises(OptionError, match=r"FPIR .*: expected above 0 and below 1"):
        threshold_at_fpir(mixed(np.zeros(9), np.ones(1), np.zeros(1, np.int64)), fpir)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.zeros((1, 2))], "blocks of 1 rows: expected 2, one for each probe"),
        ([np.zeros((3, 2))], r"block \(3, 2\) up to probe 3: expected \(2, 2\) in all"),
        ([np.zeros((2, 3))], r"block \(2, 3\) up to probe 2: expected \(2, 2\) in all"),
        ([np.full((2, 2), np.nan)], "not finite; leave out images without an embedding"),
        ([np.full((2, 2), np.inf)], "not finite"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(blocks: list[np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        search_blocks(blocks, ["a", "b"], ["a", "b"])


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(DataError, match="0 gallery images: expected at least one"):
        search(at_angles(0), ["a"], np.zeros((0, 2)), [])
    with pytest.raises(DataError, match="2 gallery images and 0 probes: expected at least one of either"):
        search(np.zeros((0, 2)), [], at_angles(0, 1), ["a", "b"])
    with pytest.raises(DataError, match=r"gallery \(2, 2\) and identities \(1,\): expected one for each image"):
        search(at_angles(0), ["a"], at_angles(0, 1), ["a"])
    with pytest.raises(DataError, match=r"probes \(1, 2\) and gallery \(1, 3\)"):
        search(at_angles(0), ["a"], np.ones((1, 3)), ["a"])


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_identities_are_refused(missing: object) -> None:
    with pytest.raises(DataError, match="identities: some are missing; give one for each image"):
        numbered(np.array(["a", missing, "b"], dtype=object))
    with pytest.raises(DataError, match="identities: some are missing"):
        numbered([1.0, np.nan])


def test_a_gallery_enrols_who_has_an_image_left_to_probe() -> None:
    identities = np.array(["a"] * 4 + ["b"] * 2 + ["c"] + ["d"] * 3)
    gallery, probes = draw_gallery(identities, seed=1)
    assert sorted(identities[gallery]) == ["a", "b", "d"]
    assert sorted([*gallery, *probes]) == list(range(10))
    gallery, probes = draw_gallery(identities, per_identity=2)
    assert sorted(identities[gallery]) == ["a", "a", "d", "d"]
    assert sorted(identities[probes]) == ["a", "a", "b", "b", "c", "d"]


def test_a_gallery_is_the_same_for_the_same_seed_alone() -> None:
    identities = np.repeat(np.arange(50), 6)
    first, again, other = (draw_gallery(identities, seed=seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_share_of_the_identities_is_left_out_of_the_gallery() -> None:
    identities = np.repeat(np.arange(50), 3)
    gallery, probes = draw_gallery(identities, unknown=0.2)
    assert len(gallery) == 40
    assert len(set(identities[probes]) - set(identities[gallery])) == 10


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"per_identity": 0}, OptionError, "per_identity=0, unknown=0: expected 1 or more images"),
        ({"unknown": 1.0}, OptionError, r"unknown=1: expected .* a share in \[0, 1\)"),
        ({"per_identity": 3}, DataError, "2 identities, none with more than 3 images: a gallery needs one more"),
    ],
)
def test_a_gallery_that_cannot_be_drawn_is_refused(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        draw_gallery(["a", "a", "b"], **options)
