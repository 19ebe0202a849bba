import numpy as np
import pytest

from siamese.errors import DataError, OptionError
from siamese.evaluation import gallery_search
from siamese.evaluation.gallery_search import draw_gallery, numbered, search, search_blocks


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
    similarity = probes @ gallery.T
    assert found.nearest.tolist() == [enrolled[column] for column in similarity.argmax(axis=1)]
    assert 0 < np.count_nonzero(found.mated) < 200


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_blocks_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    probes, wanted, gallery, enrolled = open_set(3)
    whole = search_blocks([probes @ gallery.T], wanted, enrolled)
    similarity = probes @ gallery.T
    parts = search_blocks((similarity[n : n + rows] for n in range(0, 200, rows)), wanted, enrolled)
    monkeypatch.setattr(gallery_search, "_BLOCK", rows * len(gallery))
    computed = search(probes, wanted, gallery, enrolled)
    for other in (parts, computed):
        np.testing.assert_allclose(other.own, whole.own, rtol=1e-12)
        assert other.ranks.tolist() == whole.ranks.tolist()


def test_no_more_probes_are_held_than_a_block_has(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    searched = gallery_search._searched

    def spy(block: np.ndarray, *rest: np.ndarray) -> tuple[np.ndarray, ...]:
        shapes.append(block.shape)
        return searched(block, *rest)

    monkeypatch.setattr(gallery_search, "_searched", spy)
    monkeypatch.setattr(gallery_search, "_BLOCK", 64 * 60)
    search(*open_set(4))
    assert shapes == [(64, 60), (64, 60), (64, 60), (8, 60)]


def test_order_of_gallery_and_probes_changes_nothing() -> None:
    probes, wanted, gallery, enrolled = open_set(5)
    random = np.random.default_rng(0)
    some, others = random.permutation(len(probes)), random.permutation(len(gallery))
    found = search(probes, wanted, gallery, enrolled)
    shuffled = search(probes[some], np.array(wanted)[some], gallery[others], np.array(enrolled)[others])
    assert shuffled.ranks.tolist() == found.ranks[some].tolist()
    assert shuffled.nearest.tolist() == found.nearest[some].tolist()
    np.testing.assert_allclose(shuffled.own, found.own[some], rtol=1e-12)


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
    # Two images of the right identity that tie with each other are no tie.
    assert search_blocks([np.array([[0.5, 0.5, 0.1]])], ["a"], ["a", "a", "b"]).ranks.tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_among_many_ties_ranks_and_the_nearest_are_what_loops_find(seed: int) -> None:
    random = np.random.default_rng(seed)
    similarity = random.integers(0, 3, size=(80, 15)) / 2 - 0.5
    wanted = [f"p{code}" for code in random.integers(12, size=80)]
    enrolled = [f"p{code}" for code in random.permutation(np.resize(np.arange(8), 15))]
    found = search_blocks([similarity[:33], similarity[33:]], wanted, enrolled)
    expected = by_loops(similarity, wanted, enrolled)
    assert found.best.tolist() == [row[0] for row in expected]
    assert found.ranks.tolist() == [row[2] for row in expected]
    for row, name in enumerate(found.nearest):
        best = max(value for value, other in zip(similarity[row], enrolled, strict=True) if other == name)
        assert best == found.best[row]
        # The right identity is named only where it is first; where another ties with it, that one is.
        assert (name == wanted[row]) == (found.ranks[row] == 0)
    assert np.count_nonzero((found.own == found.best) & (found.ranks > 0)) > 5


def test_the_nearest_keeps_the_kind_of_the_identities() -> None:
    found = search(at_angles(0, 80), [7, 9], at_angles(10, 90), [7, 11])
    assert found.nearest.tolist() == [7, 11]


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
    draws = [draw_gallery(identities, seed=(seed, run))[0].tolist() for seed, run in ((0, 1), (0, 1), (1, 0))]
    assert draws[0] == draws[1] != draws[2]


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
