from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from siamese.errors import DataError, OptionError, PairFileError
from siamese.inference.submission import check_ids, write_submission
from siamese.inference.submission_form import parse_submission, read_sample, submission_form
from siamese.inference.submission_ids import image_ids, pair_ids


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "columns", "answer"),
    [
        ("id,label", ("id", "label"), "label"),
        ("ID,Label", ("ID", "Label"), "label"),
        ("index, score", ("index", "score"), "score"),
        (",Similarity", ("", "Similarity"), "score"),
        ("img_pair,is_related", ("img_pair", "is_related"), "label"),
    ],
)
def test_two_names_make_a_form(text: str, columns: tuple[str, str], answer: str) -> None:
    form = submission_form(text)
    assert (form.columns, form.answer, form.ids) == (columns, answer, None)
    assert submission_form(text, "identity").answer == "identity"


@pytest.mark.parametrize("text", ["id", "id,label,x", "id,", "same,same", ""])
def test_other_than_two_names_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="expected two column names, such as id,label, or a sample submission file"):
        submission_form(text)


@pytest.mark.parametrize(
    ("cells", "answer", "words"),
    [
        (["0", "1", "0"], "label", ("0", "1")),
        (["0", "0", "0"], "label", ("0", "1")),
        (["True", "False", "True"], "label", ("False", "True")),
        (["true", "true", "true"], "label", ("false", "true")),
        (["0.5", "0.5", "0.5"], "score", ("0", "1")),
        (["0.0", "1e-3", "-2"], "score", ("0", "1")),
        (["w_1", "new_whale", "w_2"], "identity", ("0", "1")),
        (["new_whale w_1", "", "w_2"], "identity", ("0", "1")),
        (["3", "17", "0"], "identity", ("0", "1")),
    ],
)
def test_a_sample_tells_its_kind_of_answer(tmp_path: Path, cells: list[str], answer: str, words: tuple) -> None:
    lines = [f"{name},{cell}" for name, cell in zip(("b", "007", "a"), cells, strict=True)]
    form = read_sample(written(tmp_path / "sample.csv", "\n".join(["Id,Answer", *lines]) + "\n"))
    assert form.columns == ("Id", "Answer")
    assert form.ids is not None
    assert form.ids.tolist() == ["b", "007", "a"]
    assert (form.answer, form.words) == (answer, words)


def test_a_kind_of_answer_that_is_given_wins(tmp_path: Path) -> None:
    path = written(tmp_path / "sample.csv", "id,p\na,0\nb,0\n")
    assert read_sample(path, "score").answer == "score"
    assert read_sample(written(tmp_path / "blank.csv", "id,p\na,\n"), "label").answer == "label"
    with pytest.raises(OptionError, match="unknown kind of answer 'scores': did you mean 'score'"):
        read_sample(path, "scores")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["\ufeffid,label\r\na,0\r\nb,1\r\n", '"id";"label"\n"a";0\n\nb;1', "id\tlabel\na\t0\nb\t1\n"],
)
def test_samples_of_other_programs_are_read(tmp_path: Path, text: str) -> None:
    form = read_sample(written(tmp_path / "sample.csv", text))
    assert form.columns == ("id", "label")
    assert form.ids is not None
    assert form.ids.tolist() == ["a", "b"]
    assert form.answer == "label"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sample.csv: is empty; expected a sample submission: CSV with a header of two columns"),
        ("id,label\n", "sample.csv: has a header and no rows"),
        ("id,label,usage\n1,0,x\n", "sample.csv line 1: the header is 'id,label,usage'; expected a sample"),
        ("id\n1\n", "sample.csv line 1: the header is 'id'"),
        ("id,label\n1,0\n1,0\n", "sample.csv line 3: the id '1' stands in an earlier row too"),
        ("id,label\n1,0\n\n,1\n", "sample.csv line 4: the id is empty; name each row"),
        (
            "id,label\n1,\n2,\n",
            "sample.csv: shows no answers, so that labels cannot be told from scores; say --answer label or",
        ),
        ("id,label\n1,0,5\n", "sample.csv line 2: 3 cells, but the header has 2"),
        ("id,label\n\0", "sample.csv: holds binary data"),
    ],
)
def test_a_sample_that_shows_no_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PairFileError) as caught:
        read_sample(written(tmp_path / "sample.csv", text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sample_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PairFileError, match=r"none.csv: cannot be read \(No such file or directory\)"):
        read_sample(tmp_path / "none.csv")


def test_a_submission_has_the_order_and_the_columns_of_its_sample(tmp_path: Path) -> None:
    form = read_sample(written(tmp_path / "sample.csv", "ID,Label\n007,0\nb,0\na,0\n"))
    write_submission(tmp_path / "out.csv", ["a", "b", "007"], np.array([True, False, True]), form)
    assert (tmp_path / "out.csv").read_bytes() == b"ID,Label\n007,1\nb,0\na,1\n"


def test_labels_are_spelled_as_the_sample_spells_them(tmp_path: Path) -> None:
    form = read_sample(written(tmp_path / "sample.csv", ";same\n1;False\n2;True\n"))
    write_submission(tmp_path / "out.csv", [1, 2], [1, 0], form)
    assert (tmp_path / "out.csv").read_text() == ";same\n1;True\n2;False\n"


def test_without_a_sample_the_order_given_is_kept(tmp_path: Path) -> None:
    write_submission(tmp_path / "out.csv", ["z", "a", "m"], [0.0, 1.0, 1.0], submission_form("id,label"))
    assert (tmp_path / "out.csv").read_text() == "id,label\nz,0\na,1\nm,1\n"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scores_keep_all_their_digits(tmp_path: Path, dtype: type) -> None:
    scores = np.random.default_rng(0).uniform(-1, 1, 1000).astype(dtype)
    scores[1] = np.nextafter(scores[0], dtype(2))
    write_submission(tmp_path / "out.csv", np.arange(1000), scores, submission_form("index,score"))
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert [int(name) for name, _ in rows] == list(range(1000))
    assert [dtype(score) for _, score in rows] == scores.tolist()


def test_identities_are_text_with_any_characters(tmp_path: Path) -> None:
    form = submission_form("Image,Id", "identity")
    answers = ["new_whale w_1", 'O"Brien, José', ""]
    write_submission(tmp_path / "out.csv", ["a.jpg", "b,c.jpg", "d.jpg"], answers, form)
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert table["Image"].tolist() == ["a.jpg", "b,c.jpg", "d.jpg"]
    assert table["Id"].tolist() == answers


def test_missing_surplus_and_repeated_ids_are_one_message(tmp_path: Path) -> None:
    sample = written(tmp_path / "sample.csv", "id,label\na,0\nb,0\nc,0\nd,0\n")
    with pytest.raises(DataError) as caught:
        write_submission(tmp_path / "out.csv", ["a", "a", "x", "b"], [1, 0, 1, None], read_sample(sample))
    assert str(caught.value) == (
        f"{tmp_path / 'out.csv'}: 4 answers, ids without an answer: 1 (first 'b'), repeated: 1 (first 'a'), "
        f"missing: 2 (first 'c'), surplus: 1 (first 'x'); expected one answer for each id of the 4 in {sample}"
    )
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("answers", "form", "message"),
    [
        ([0.3, 1.0], "id,label", "the answer for id 'a' is '0.3', expected 0 or 1, as column label of --submission"),
        ([1, 2], "id,label", "the answer for id 'b' is '2', expected 0 or 1"),
        (["p1", "p2"], "id,label", "the answer for id 'a' is 'p1', expected 0 or 1"),
        ([0.5, np.inf], "id,score", "the answer for id 'b' is 'inf', expected a finite number"),
        (
            [0.5, np.nan],
            "id,score",
            "2 answers, ids without an answer: 1 (first 'b'); expected one answer for each id",
        ),
        ([0.5], "id,score", "2 ids and 1 answers; expected one answer for each id"),
    ],
)
def test_answers_of_another_kind_are_refused(tmp_path: Path, answers: list[Any], form: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        write_submission(tmp_path / "out.csv", ["a", "b"], answers, submission_form(form))
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    written(tmp_path / "out.csv", "old")
    with pytest.raises(DataError, match=r"cannot be written as UTF-8; rename it"):
        write_submission(tmp_path / "out.csv", ["a", "b"], ["x", "y\udc80"], submission_form("id,name", "identity"))
    assert (tmp_path / "out.csv").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OptionError, match=r"out.parquet: a submission ends in .csv; name it so"):
        write_submission(tmp_path / "out.parquet", ["a"], [1], submission_form("id,label"))


def test_written_and_read_back_a_submission_is_its_own_sample(tmp_path: Path) -> None:
    form = read_sample(written(tmp_path / "sample.csv", "id,label\nq,0\np,1\n"))
    write_submission(tmp_path / "out.csv", ["p", "q"], [True, False], form)
    again = read_sample(tmp_path / "out.csv")
    assert again.ids is not None and form.ids is not None
    assert (again.columns, again.answer, again.ids.tolist()) == (form.columns, form.answer, form.ids.tolist())


@pytest.fixture
def table() -> pa.Table:
    return pa.table({"left": ["test/a.jpg", "test/b.jpg"], "right": ["test/c.jpg", "test/d.jpg"], "ID": [8, 9]})


def test_pairs_are_named_by_their_column_of_ids(table: pa.Table) -> None:
    assert pair_ids(table, submission_form("id,label")).tolist() == ["8", "9"]
    assert pair_ids(table.drop_columns(["ID"]), submission_form("id,label")).tolist() == ["0", "1"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["b.jpg-d.jpg", "a.jpg-c.jpg"], ["a.jpg-c.jpg", "b.jpg-d.jpg"]),
        (["a_c", "b_d"], ["a_c", "b_d"]),
        (["test/a.jpg test/c.jpg", "test/b.jpg test/d.jpg"], ["test/a.jpg test/c.jpg", "test/b.jpg test/d.jpg"]),
        (["0", "1"], ["0", "1"]),
        (["1", "2"], ["1", "2"]),
    ],
)
def test_pairs_are_named_as_the_sample_names_them(
    tmp_path: Path, table: pa.Table, ids: list[str], expected: list[str]
) -> None:
    form = read_sample(written(tmp_path / "s.csv", "pair,p\n" + "".join(f"{name},0.5\n" for name in ids)))
    assert pair_ids(table, form).tolist() == expected
    write_submission(tmp_path / "out.csv", pair_ids(table, form), [0.25, 0.75], form)
    assert pd.read_csv(tmp_path / "out.csv", dtype=str)["pair"].tolist() == ids


@pytest.mark.parametrize("spelling", ["a.b.jpg", "a.b", "x/y/a.b.jpg", "x/y/a.b"])
def test_images_are_named_as_the_sample_names_them(tmp_path: Path, spelling: str) -> None:
    form = read_sample(written(tmp_path / "s.csv", f"Image,Id\nother,w\n{spelling},w\n"))
    assert image_ids(["x/y/a.b.jpg", "x\\y\\c.jpg"], form).tolist()[0] == spelling


def test_images_without_a_sample_are_named_by_file() -> None:
    assert image_ids(["x/y/a.b.jpg", "x\\y\\c.jpg"], submission_form("Image,Id")).tolist() == ["a.b.jpg", "c.jpg"]


def test_an_option_names_a_sample_or_two_columns(tmp_path: Path) -> None:
    sample = written(tmp_path / "sample, of 2024.csv", "ID,Label\nb,0\na,1\n")
    form = parse_submission(str(sample))
    assert (form.columns, form.answer, form.source) == (("ID", "Label"), "label", str(sample))
    assert parse_submission(str(sample), "score").answer == "score"
    assert parse_submission("index,score").columns == ("index", "score")
    with pytest.raises(PairFileError, match=r"nowhere\.csv: cannot be read \(No such file or directory\)"):
        parse_submission(str(tmp_path / "nowhere.csv"))
    with pytest.raises(OptionError, match=r"^--submission 'Id': expected two column names, such as id,label, or a "):
        parse_submission("Id")
    with pytest.raises(OptionError, match=r"^--submission 'Id': expected two column names, such as Image,Id, or a "):
        parse_submission("Id", "identity")


@pytest.mark.parametrize(
    ("cells", "places"), [(["w", "v"], 1), (["w v", "w"], 2), (["", ""], 5), ([" a b c ", ""], 3)]
)
def test_a_sample_of_identities_shows_how_many_are_named(tmp_path: Path, cells: list[str], places: int) -> None:
    lines = "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))
    assert read_sample(written(tmp_path / "s.csv", "Image,Id\n" + lines), "identity").places == places


def test_ids_are_checked_before_there_are_answers(tmp_path: Path) -> None:
    form = read_sample(written(tmp_path / "s.csv", "id,label\na,0\nb,1\n"))
    check_ids(tmp_path / "out.csv", ["b", "a"], form)
    with pytest.raises(
        DataError, match=r"out\.csv: 1 answers, ids missing: 1 \(first 'a'\); expected one answer for"
    ):
        check_ids(tmp_path / "out.csv", ["b"], form)
