import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.pairing.suspects import label_suspects
from siamese.similarity import normalise


def at_angles(*degrees: float) -> NDArray[np.float32]:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def people(
    count: int = 30, images: int = 4, noise: float = 0.5, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray]:
    """Unit vectors around a centre of each identity, in 64 dimensions."""
    rng = np.random.default_rng(seed)
    centres = normalise(rng.normal(size=(count, 64)))
    groups = np.repeat(np.arange(count), images)
    around = centres[groups] + noise * normalise(rng.normal(size=(len(groups), 64)))
    return normalise(around).astype(np.float32), groups


def test_a_picture_under_the_wrong_name_is_the_strongest_suspect() -> None:
    vectors, groups = people()
    wrong = groups.copy()
    wrong[8] = 20  # of identity 2
    found = label_suspects(vectors, wrong)
    assert found.told_apart
    first = found.suspects[0]
    assert first.image == 8
    assert wrong[first.other] == 2
    assert first.others == 4
    assert found.total == 1


def test_one_person_under_two_names_is_a_suspect_even_with_one_image_each() -> None:
    vectors, groups = people()
    vectors, groups = np.concatenate([vectors, vectors[:1]]), np.append(groups, 30)
    vectors[-1] = normalise(vectors[-1:] + 0.01)
    groups[0] = 31  # the only image of somebody else now
    found = label_suspects(vectors, groups)
    assert {found.suspects[0].image, found.suspects[0].other} == {0, len(groups) - 1}
    assert found.suspects[0].own is None
    assert found.suspects[0].others == 0


def test_nobody_is_accused_where_all_names_are_right() -> None:
    found = label_suspects(*people())
    assert found.told_apart
    assert (found.suspects, found.total) == ((), 0)


def test_an_image_that_resembles_nobody_is_no_suspect() -> None:
    vectors, groups = people()
    vectors[0] = normalise(np.random.default_rng(9).normal(size=(1, 64)))
    assert label_suspects(vectors, groups).total == 0


def test_nobody_is_accused_by_vectors_that_do_not_tell_identities_apart() -> None:
    rng = np.random.default_rng(0)
    vectors = normalise(rng.normal(size=(120, 64))).astype(np.float32)
    found = label_suspects(vectors, np.repeat(np.arange(30), 4))
    assert not found.told_apart
    assert found.total == 0


def test_without_genuine_pairs_what_strangers_reach_is_the_measure() -> None:
    rng = np.random.default_rng(0)
    vectors = normalise(rng.normal(size=(100, 64))).astype(np.float32)
    vectors[70] = normalise(vectors[30:31] + 0.02)
    found = label_suspects(vectors, np.arange(100))
    assert [(suspect.image, suspect.other) for suspect in found.suspects] in ([(30, 70)], [(70, 30)])


def test_what_suspects_are_measured_against_is_told_by_the_angles() -> None:
    # Identities of three images, of two and of one, the last beside the first.
    found = label_suspects(at_angles(0, 10, 20, 90, 110, 12), np.array([0, 0, 0, 1, 1, 2]))
    ten, twenty, two, eight, twelve, seventy, ninety = np.cos(np.deg2rad([10, 20, 2, 8, 12, 70, 90]))
    best = np.array([twelve, two, eight, seventy, ninety, two])
    assert found.genuine == pytest.approx(((ten + ten + twenty) / 3 + twenty) / 2, abs=1e-6)
    assert found.stranger == pytest.approx(np.median(best), abs=1e-6)
    assert found.spread == pytest.approx(1.4826 * np.median(np.abs(best - np.median(best))), abs=1e-6)


def test_scores_descend_and_agree_with_the_docstring() -> None:
    vectors, groups = people(noise=1.0)
    wrong = groups.copy()
    wrong[[3, 50, 77]] = [9, 1, 2]
    found = label_suspects(vectors, wrong)
    scores = [suspect.score for suspect in found.suspects]
    assert scores == sorted(scores, reverse=True)
    assert {3, 50, 77} <= {suspect.image for suspect in found.suspects}
    similarity = vectors @ vectors.T
    for suspect in found.suspects:
        own = np.flatnonzero((wrong == wrong[suspect.image]) & (np.arange(len(wrong)) != suspect.image))
        mean = similarity[suspect.image, own].mean()
        assert suspect.own == pytest.approx(mean, abs=1e-5)
        support = (len(own) * mean + found.genuine) / (len(own) + 1)
        assert suspect.score == pytest.approx(suspect.similarity - max(support, found.stranger), abs=1e-5)
        assert suspect.similarity == pytest.approx(similarity[suspect.image, suspect.other], abs=1e-6)
        assert suspect.score > found.spread


def test_two_that_suspect_each_other_are_named_once_and_all_are_counted() -> None:
    vectors, groups = people()
    twins = np.concatenate([vectors, vectors[:8]])
    found = label_suspects(twins, np.concatenate([groups, 100 + np.arange(8)]), limit=3)
    pairs = [frozenset((suspect.image, suspect.other)) for suspect in found.suspects]
    assert len(set(pairs)) == len(pairs) == 3
    assert found.total >= 8


def test_the_order_of_images_does_not_matter() -> None:
    vectors, groups = people(noise=1.0)
    groups[[3, 50, 77]] = [9, 1, 2]
    order = np.random.default_rng(1).permutation(len(groups))
    straight, shuffled = label_suspects(vectors, groups), label_suspects(vectors[order], groups[order])
    named = {(order[suspect.image], order[suspect.other]) for suspect in shuffled.suspects}
    assert named == {(suspect.image, suspect.other) for suspect in straight.suspects}


def test_numbers_of_identities_may_have_gaps() -> None:
    vectors, groups = people(noise=1.0)
    groups[[3, 50, 77]] = [9, 1, 2]
    assert label_suspects(vectors, 7 * groups + 2) == label_suspects(vectors, groups)


def test_one_identity_alone_has_no_suspects() -> None:
    found = label_suspects(at_angles(0, 10, 20), np.zeros(3, np.int64))
    assert (found.total, found.told_apart) == (0, False)
