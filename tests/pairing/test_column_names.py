import pytest

from siamese.errors import PairFileError
from siamese.pairing.column_names import canonical_names

KNOWN = ("left", "right", "same", "left_identity")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["left", "right", "same"], {}),
        (["image1", "image2", "label"], {"image1": "left", "image2": "right", "label": "same"}),
        (["Img_1", "IMG 2", "is-same"], {"Img_1": "left", "IMG 2": "right", "is-same": "same"}),
        (["path1", "path2", "issame"], {"path1": "left", "path2": "right", "issame": "same"}),
        (["file1", "file2", "target"], {"file1": "left", "file2": "right", "target": "same"}),
        (["file_x", "file_y", "match"], {"file_x": "left", "file_y": "right", "match": "same"}),
        (["first", "second"], {"first": "left", "second": "right"}),
        (["LEFT", "Right", "Left Identity"], {"LEFT": "left", "Right": "right", "Left Identity": "left_identity"}),
        (["left", "LEFT", "image1", "right"], {}),
        (["Left", "image1", "right"], {"Left": "left"}),
        (["path", "identity"], {}),
    ],
)
def test_names_of_the_field_are_brought_to_those_of_the_table(found, expected):
    assert canonical_names(found, KNOWN, "p.csv") == expected


@pytest.mark.parametrize(
    ("found", "first", "second", "name"),
    [
        (["image1", "file1", "right"], "image1", "file1", "left"),
        (["Left", "LEFT", "right"], "Left", "LEFT", "left"),
        (["left", "right", "label", "Target"], "label", "Target", "same"),
    ],
)
def test_two_names_for_one_column_are_refused(found, first, second, name):
    with pytest.raises(PairFileError) as caught:
        canonical_names(found, KNOWN, "p.csv")
    expected = f"columns {first!r} and {second!r} could both be the column {name}; rename the right one to {name}"
    assert str(caught.value) == f"p.csv: {expected}"
