import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.errors import PairFileError
from siamese.pairing.face_bin import is_bin, unpack_bin, write_bin
from siamese.pairing.formats import kind_of, read_pairs


def picture(shade, form="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (shade, 2 * shade % 256, 7)).save(buffer, form)
    return buffer.getvalue()


IMAGES = [picture(shade) for shade in range(40)]
LABELS = [True, False] * 10


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agedb_30.bin"


def refused(expected, call, *arguments, **options):
    with pytest.raises(PairFileError) as caught:
        call(*arguments, **options)
    assert str(caught.value) == expected


def python2_pickle(images, labels, protocol):
    """What Python 2 writes for ([str, ...], [bool, ...]); its strings are bytes, which Python 3 writes otherwise."""
    if protocol == 0:
        strings = b"".join(b"S" + repr(image)[1:].encode() + b"\np%d\na" % n for n, image in enumerate(images, 2))
        truths = b"".join(b"I0%d\na" % label for label in labels)
        return b"((lp0\n" + strings + b"(lp1\n" + truths + b"tp99\n."
    strings = b"".join(b"T" + struct.pack("<i", len(image)) + image + b"q\x05" for image in images)
    truths = b"".join(b"\x88" if label else b"\x89" for label in labels)
    return b"\x80\x02]q\x01(" + strings + b"e]q\x02(" + truths + b"e\x86q\x03."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("whole", [tuple, list])
def test_files_of_python_3_are_read(path, tmp_path, protocol, whole):
    path.write_bytes(pickle.dumps(whole([IMAGES, LABELS]), protocol=protocol))
    check_unpacked(unpack_bin(path, tmp_path / "images"), tmp_path / "images")


@pytest.mark.parametrize("protocol", [0, 2])
def test_files_of_python_2_are_read(path, tmp_path, protocol):
    data = python2_pickle(IMAGES, LABELS, protocol)
    assert pickle.loads(data, encoding="bytes") == (IMAGES, LABELS)  # noqa: S301
    path.write_bytes(data)
    check_unpacked(unpack_bin(path, tmp_path / "images"), tmp_path / "images")


def check_unpacked(frame, folder):
    assert is_bin(folder.parent / "agedb_30.bin")
    assert frame["left"].tolist() == [f"{number:05d}.jpg" for number in range(0, 40, 2)]
    assert frame["right"].tolist() == [f"{number:05d}.jpg" for number in range(1, 40, 2)]
    assert frame["same"].tolist() == LABELS
    assert frame["fold"].tolist() == np.repeat(np.arange(10), 2).tolist()
    assert sorted(file.name for file in folder.iterdir()) == [f"{number:05d}.jpg" for number in range(40)]
    assert [(folder / f"{number:05d}.jpg").read_bytes() for number in range(40)] == IMAGES


def test_labels_may_be_ones_and_zeros_and_folds_need_a_multiple_of_ten(path, tmp_path):
    path.write_bytes(pickle.dumps((IMAGES[:6], [1, 0, 1])))
    frame = unpack_bin(path, tmp_path / "images")
    assert frame["same"].tolist() == [True, False, True]
    assert list(frame) == ["left", "right", "same"]


def test_endings_follow_the_content_and_repeated_images_are_written_once(path, tmp_path):
    forms = [picture(1, "PNG"), picture(1, "BMP"), picture(1, "WEBP"), picture(1, "PNG")]
    path.write_bytes(pickle.dumps((forms, [True, False])))
    frame = unpack_bin(path, tmp_path / "images")
    assert frame[["left", "right"]].to_numpy().tolist() == [["00000.png", "00001.bmp"], ["00002.webp", "00000.png"]]
    assert len(list((tmp_path / "images").iterdir())) == 3


def test_reading_the_pairs_of_a_bin_file_says_how(path):
    path.write_bytes(pickle.dumps((IMAGES, LABELS)))
    for call in (read_pairs, kind_of):
        refused(
            f"{path}: is a .bin file, which holds its images besides the pairs; unpack it into a folder first "
            "(siamese.pairing.face_bin.unpack_bin), and read the pairs that this gives",
            call,
            path,
        )


def write_images(root, names):
    for shade, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(shade))


def test_a_table_and_its_images_are_packed_byte_for_byte(path, tmp_path):
    names = ["ü/1.jpg", "a b/2.jpg", "c.jpg"]
    write_images(tmp_path, names)
    frame = pd.DataFrame({"left": names, "right": names[1:] + names[:1], "same": [1, 0, 1]}, index=[5, 6, 7])
    write_bin(frame, tmp_path, path)
    images = [(tmp_path / name).read_bytes() for name in [names[0], names[1], names[1], names[2], names[2], names[0]]]
    assert pickle.loads(path.read_bytes()) == (images, [True, False, True])  # noqa: S301
    assert path.read_bytes()[:2] == b"\x80\x02"
    unpacked = unpack_bin(path, tmp_path / "out")
    assert [(tmp_path / "out" / name).read_bytes() for name in unpacked["left"]] == images[::2]
    assert unpacked["same"].tolist() == [True, False, True]


def test_folds_survive_where_they_are_those_of_the_form(path, tmp_path):
    names = [f"{number}.jpg" for number in range(21)]
    write_images(tmp_path, names)
    frame = pd.DataFrame(
        {"left": names[:20], "right": names[1:], "same": LABELS, "fold": np.repeat(np.arange(10), 2)}
    )
    write_bin(frame, tmp_path, path)
    assert unpack_bin(path, tmp_path / "out")["fold"].tolist() == frame["fold"].tolist()
    refused(
        f"{path}: a .bin file stands for ten equal consecutive folds, and column fold says otherwise; leave it out, "
        "or sort the rows by it",
        write_bin,
        frame.assign(fold=[0, 1] * 10),
        tmp_path,
        path,
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"same": [None]}, "row 1 has no label, and a .bin file holds only labelled pairs"),
        ({"group": ["x"]}, "a .bin file has no place for column 'group'; leave it out"),
        ({"right": ["gone.jpg"]}, "image {root}/gone.jpg cannot be read: No such file or directory"),
    ],
)
def test_what_a_bin_file_cannot_hold_is_refused(path, tmp_path, columns, expected):
    write_images(tmp_path, ["a.jpg", "b.jpg"])
    frame = pd.DataFrame({"left": ["a.jpg"], "right": ["b.jpg"], "same": [1]} | columns)
    refused(f"{path}: {expected.format(root=tmp_path)}", write_bin, frame, tmp_path, path)
    assert not path.exists()
    refused(
        f"{path}: the table has no rows, nothing to write", write_bin, frame[["left", "right", "same"]][:0], ".", path
    )


EXPECTED = "expected the pickle of a list of encoded images and a list of truth values, half as many"


class Reduced:
    """An object whose pickle calls a function with arguments when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "wrapped", [lambda bomb: bomb, lambda bomb: (IMAGES, [bomb]), lambda bomb: ([bomb] * 2, [1])]
)
def test_a_hostile_pickle_is_refused_and_runs_nothing(path, tmp_path, protocol, wrapped):
    marker = tmp_path / "ran"
    hostile = [
        Reduced(Path.touch, marker),
        Reduced(eval, f"open({str(marker)!r}, 'w')"),
        Reduced(exec, f"open({str(marker)!r}, 'w')"),
        Reduced(__import__("os").system, f"touch {marker}"),
        Reduced(Reduced, Reduced(eval, f"open({str(marker)!r}, 'w')")),
    ]
    for bomb in hostile:
        path.write_bytes(pickle.dumps(wrapped(bomb), protocol=protocol))
        with pytest.raises(PairFileError) as caught:
            unpack_bin(path, tmp_path / "images")
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert not marker.exists()
    assert not (tmp_path / "images").exists()
    pickle.loads(pickle.dumps(hostile[1]))  # noqa: S301
    assert marker.exists()  # it would have run


def test_the_function_that_a_hostile_pickle_names_is_named(path, tmp_path):
    path.write_bytes(b"\x80\x02]q\x01(cposix\nsystem\nX\x02\x00\x00\x00ls\x85Re.")
    refused(
        f"{path}: it names posix.system, and nothing is imported or called; {EXPECTED}", unpack_bin, path, tmp_path
    )
    path.write_bytes(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.")
    refused(
        f"{path}: it names builtins.eval, and nothing is imported or called; {EXPECTED}", unpack_bin, path, tmp_path
    )
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00rot_13\x86R.")
    refused(
        f"{path}: it encodes text in another way than Python writes bytes; {EXPECTED}", unpack_bin, path, tmp_path
    )
    path.write_bytes(b"\x80\x02(iposix\nsystem\n.")
    refused(f"{path}: instruction INST is not read; {EXPECTED}", unpack_bin, path, tmp_path)
    path.write_bytes(b"\x80\x02}q\x00X\x01\x00\x00\x00a\x81.")
    refused(f"{path}: instruction EMPTY_DICT is not read; {EXPECTED}", unpack_bin, path, tmp_path)


@pytest.mark.parametrize("array", [np.frombuffer(IMAGES[0], np.uint8), np.bool_(True)])
def test_numpy_arrays_are_refused_with_what_to_do(path, tmp_path, array):
    path.write_bytes(pickle.dumps(([array], [True]), protocol=2))
    with pytest.raises(PairFileError) as caught:
        unpack_bin(path, tmp_path)
    assert str(caught.value).startswith(f"{path}: it names numpy._core.multiarray.")
    assert str(caught.value).endswith("save it again with each image as bytes(image) and each label as bool(label)")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x80\x02]q\x01(T\xff\xff\xff\x7fabc", "instruction BINSTRING is broken"),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"abc.", "instruction BINBYTES8 is broken"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b"].", "holds something else than two lists"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "holds something else than two lists"),
        (b"\x80\x02]q\x00" + b"h\x00h\x00\x86q\x00" * 5000 + b".", "it holds no single value"),
        (b"\x80\x02]q\x00" + b"h\x00\x86q\x00" * 5000 + b".", "2 images and 2 labels, expected two images a label"),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "holds something else than two lists"),
        (b"\x80\x02h\x07.", "instruction BINGET is broken"),
        (b"\x80\x02e.", "a mark is missing"),
        (b"\x80\x02\x86.", "instruction TUPLE2 is broken"),
        (b"\x80\x02K\x01a.", "instruction APPEND is broken"),
        (b"\x80\x02K\x01K\x02a.", "it appends to something else than a list"),
        (b"\x80\x02\xff.", "byte b'\\xff' is no instruction"),
        (b"\x80\x02(.", "it holds no single value"),
        (b"\x80\x02]q\x01", "the file ends too early"),
        (b"\x80\x04]]\x93.", "instruction STACK_GLOBAL is broken"),
    ],
)
def test_broken_and_swollen_streams_are_refused(path, tmp_path, data, expected):
    path.write_bytes(data)
    with pytest.raises(PairFileError) as caught:
        unpack_bin(path, tmp_path / "images")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_instructions_are_counted(path, tmp_path, monkeypatch):
    monkeypatch.setattr("siamese.pairing.face_pickle._MOST", 1000)
    path.write_bytes(b"\x80\x02(" + b"]" * 2000 + b"l.")
    refused(f"{path}: it has more than 1,000 instructions; {EXPECTED}", unpack_bin, path, tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([IMAGES], f"holds something else than two lists, {EXPECTED}"),
        ("text", f"holds something else than two lists, {EXPECTED}"),
        ((IMAGES[:5], [True, False]), "5 images and 2 labels, expected two images a label"),
        (([], []), "0 images and 0 labels, expected two images a label"),
        (([IMAGES[0], "text"], [True]), "image 1 is of type str, expected bytes"),
        ((IMAGES[:2], [2]), "label 0 is no truth value, expected True or False"),
        ((IMAGES[:2], ["1"]), "label 0 is no truth value, expected True or False"),
        (
            ([IMAGES[0], b"GIF89a.."], [True]),
            "image 1 (8 bytes, beginning '47 49 46 38 39 61 2e 2e') is no JPEG, PNG, BMP, WebP",
        ),
    ],
)
def test_lists_of_something_else_are_refused_before_anything_is_written(path, tmp_path, value, expected):
    path.write_bytes(pickle.dumps(value))
    refused(f"{path}: {expected}", unpack_bin, path, tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_a_file_that_is_too_large_or_missing_or_none_is_refused(path, tmp_path):
    refused(f"{path}: no such file, {EXPECTED}", unpack_bin, path, tmp_path)
    path.write_bytes(pickle.dumps((IMAGES, LABELS)))
    size = path.stat().st_size
    refused(
        f"{path}: {size:,} bytes, expected 100 at most; it would be held in memory",
        unpack_bin,
        path,
        tmp_path,
        max_bytes=100,
    )
    path.write_bytes(b"left,right,same\na,b,1\n")
    refused(f"{path}: does not begin like a pickle, {EXPECTED}", unpack_bin, path, tmp_path)
    assert not is_bin(path)
    assert not is_bin(tmp_path)
    assert not is_bin(tmp_path / "gone")
