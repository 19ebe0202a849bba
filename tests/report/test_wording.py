import pytest

from siamese.report.measured import Figure
from siamese.report.wording import figure_words, interval, number, p_value, printable, wrapped


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (0.98765, {}, "0.9877"),
        (-0.5, {}, "\N{MINUS SIGN}0.5000"),
        (0.00004, {}, "4.0e\N{MINUS SIGN}05"),
        (0.0, {}, "0.0000"),
        (0.00001, {"percent": True}, "1.0e\N{MINUS SIGN}03 %"),
        (0.25, {"percent": True, "signed": True}, "+25.00 %"),
        (None, {"percent": True}, "insufficient data"),
    ],
)
def test_numbers(value: float | None, options: dict[str, bool], expected: str) -> None:
    assert number(value, **options) == expected


def test_an_interval_needs_a_value_and_both_ends() -> None:
    assert interval(Figure("a", 0.5, 0.25, 0.75)) == "[0.2500, 0.7500]"
    assert interval(Figure("a", 0.5, 0.25, 0.75, percent=True)) == "[25.00, 75.00] %"
    assert interval(Figure("a", 0.0, -0.25, 0.75), signed=True) == "[\N{MINUS SIGN}0.2500, +0.7500]"
    assert interval(Figure("a", 0.5, 0.25)) == interval(Figure("a", None, 0.2, 0.3)) == ""
    assert figure_words(Figure("a", None, 0.2, 0.3)) == "insufficient data"


def test_p_values() -> None:
    assert (p_value(0.0001), p_value(0.05), p_value(None)) == ("p < 0.001", "p = 0.050", "")


def test_text_that_no_page_can_hold_is_replaced() -> None:
    assert printable("Zoë Ω 漢字\tand\nlines") == "Zoë Ω 漢字\tand\nlines"
    assert (
        printable("a\x00b\x1b[31mc\x85")
        == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31mc\N{REPLACEMENT CHARACTER}"
    )
    assert printable("evil\u202egpj.exe") == "evil\N{REPLACEMENT CHARACTER}gpj.exe"
    # The bytes of a name in Latin-1, as os.fsdecode gives them, and half a surrogate pair, as JSON may hold it.
    assert printable(b"Zo\xeb.jpg".decode("utf-8", "surrogateescape")) == "Zo\N{REPLACEMENT CHARACTER}.jpg"
    assert printable("a\ud83d\udce1").encode()


def test_long_names_are_wrapped_and_lose_their_middle() -> None:
    assert wrapped("short", 10) == "short"
    assert wrapped("one two three", 8) == "one two\nthree"
    long = wrapped("a" * 500 + "the-end", 20)
    assert all(len(line) <= 20 for line in long.splitlines())
    assert len(long.splitlines()) == 3
    assert "…" in long
    assert long.endswith("the-end")
    assert wrapped("cost $5 and $6", 40) == r"cost \$5 and \$6"
