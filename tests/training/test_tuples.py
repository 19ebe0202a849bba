import numpy as np
import pandas as pd
import pytest

from siamese.errors import DataError
from siamese.training.tuples import Tuples, index_tuples


def test_pairs_become_rows_of_the_images() -> None:
    frame = pd.DataFrame({"left": ["b", "a", "c"], "right": ["a", "c", "b"], "same": [True, False, True]})
    tuples = index_tuples(frame.astype({"same": "boolean"}), ["a", "b", "c"], np.ones(3, bool))
    np.testing.assert_array_equal(tuples.rows, [[1, 0], [0, 2], [2, 1]])
    assert tuples.rows.dtype == np.int64
    assert tuples.same is not None
    assert (tuples.same.dtype, tuples.same.tolist()) == (np.dtype(bool), [True, False, True])
    assert len(tuples) == 3


def test_triplets_become_rows_of_the_images_and_have_no_labels() -> None:
    frame = pd.DataFrame({"anchor": ["c"], "positive": ["b"], "negative": ["a"], "anchor_identity": ["x"]})
    tuples = index_tuples(frame, ["a", "b", "c"], np.ones(3, bool))
    np.testing.assert_array_equal(tuples.rows, [[2, 1, 0]])
    assert tuples.same is None


def test_quadruplets_become_rows_of_the_images_and_have_no_labels() -> None:
    frame = pd.DataFrame({"anchor": ["c"], "positive": ["b"], "negative": ["a"], "negative2": ["d"]})
    tuples = index_tuples(frame, ["a", "b", "c", "d"], np.ones(4, bool))
    np.testing.assert_array_equal(tuples.rows, [[2, 1, 0, 3]])
    assert tuples.same is None


def test_rows_that_name_an_unusable_or_unknown_image_are_left_out() -> None:
    frame = pd.DataFrame(
        {
            "left": ["a", "b", "a", "d", "z", "a"],
            "right": ["b", "c", "d", "a", "a", "z"],
            "same": [True, False, False, True, True, True],
        }
    )
    tuples = index_tuples(frame, ["a", "b", "c", "d"], np.array([True, True, False, True]))
    np.testing.assert_array_equal(tuples.rows, [[0, 1], [0, 3], [3, 0]])
    assert tuples.same is not None
    assert tuples.same.tolist() == [True, False, True]


def test_a_table_of_which_nothing_is_left_is_refused() -> None:
    frame = pd.DataFrame({"left": ["a", "a"], "right": ["b", "b"], "same": [True, False]})
    message = r"^none of 2 rows is left: every one names an image that cannot be used$"
    with pytest.raises(DataError, match=message):
        index_tuples(frame, ["a", "b"], np.array([True, False]))


def test_the_first_of_them_keep_their_labels() -> None:
    pairs = Tuples(np.array([[0, 1], [1, 2], [2, 0]]), np.array([True, False, True]))
    first = pairs.first(2)
    np.testing.assert_array_equal(first.rows, [[0, 1], [1, 2]])
    assert first.same is not None
    assert first.same.tolist() == [True, False]
    assert Tuples(np.zeros((3, 3), np.int64), None).first(2).same is None


def test_whom_pairs_show_is_found_out_where_it_is_asked_and_kept_with_the_rows() -> None:
    frame = pd.DataFrame(
        {"left": ["a", "b", "lost", "c"], "right": ["b", "c", "a", "d"], "same": [True, False, True, False]}
    )
    images, usable = ["a", "b", "c", "d"], np.ones(4, bool)
    assert index_tuples(frame, images, usable).identities is None
    found = index_tuples(frame, images, usable, identities=True)
    assert found.identities is not None
    # a and b are one person, c and d two more.
    assert found.identities.shape == (3, 2)
    first, second, third = found.identities.tolist()
    assert first[0] == first[1] == second[0]
    assert len({first[0], second[1], third[1]}) == 3
    assert third[0] == second[1]
