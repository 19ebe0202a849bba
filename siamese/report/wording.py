"""Numbers and names as a report writes them, the same in tables, charts and text alternatives."""

import re
import textwrap

from siamese.report.measured import Figure

INSUFFICIENT = "insufficient data"
# What statistics are called, and whether they are shown as percentages.
_NAMES = {
    "accuracy": ("accuracy", True),
    "balanced_accuracy": ("balanced accuracy", True),
    "best_accuracy": ("best accuracy", True),
    "auc": ("AUC", False),
    "eer": ("EER", True),
    "f1": ("F1", False),
    "precision": ("precision", True),
    "recall": ("recall", True),
    "tar": ("TAR", True),
    "far": ("FAR", True),
    "mcc": ("Matthews correlation", False),
}

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def number(value: float | None, *, percent: bool = False, signed: bool = False) -> str:
    """A number with four decimals, or a percentage with two; smaller ones get more, None is *insufficient data*.

    Example:
        >>> number(0.98765), number(0.98765, percent=True), number(0.25, percent=True, signed=True), number(None)
        ('0.9877', '98.77 %', '+25.00 %', 'insufficient data')
    """
    if value is None:
        return INSUFFICIENT
    shown = 100.0 * value if percent else value
    digits = 2 if percent else 4
    sign = "+" if signed else ""
    small = 0 < abs(shown) < 10.0**-digits
    text = f"{shown:{sign}.1e}" if small else f"{shown:{sign}.{digits}f}"
    # A minus is as wide as a plus, and a screen reader does not take it for a hyphen.
    return text.replace("-", "\N{MINUS SIGN}") + (" %" if percent else "")


def interval(figure: Figure, *, signed: bool = False) -> str:
    """`[low, high]` of a figure; empty where it has no value or no interval."""
    if figure.value is None or figure.low is None or figure.high is None:
        return ""
    ends = (
        number(end, percent=figure.percent, signed=signed).removesuffix(" %") for end in (figure.low, figure.high)
    )
    return f"[{', '.join(ends)}]" + (" %" if figure.percent else "")


def figure_words(figure: Figure) -> str:
    """Value and interval in one line, for text alternatives."""
    return " ".join(filter(None, (number(figure.value, percent=figure.percent), interval(figure))))


def p_value(p: float | None) -> str:
    """`p = 0.031`, `p < 0.001`, or nothing."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def statistic_name(statistic: str) -> tuple[str, bool]:
    """What a statistic is called, and whether it is shown as a percentage.

    Example:
        >>> statistic_name("auc"), statistic_name("tar_at_far=0.001")
        (('AUC', False), ('TAR at FAR 0.001', True))
    """
    name, _, far = statistic.partition("=")
    # 0.00001 and not 1e-05, which a narrow column breaks at its hyphen.
    return (f"TAR at FAR {float(far):.12f}".rstrip("0").rstrip("."), True) if far else _NAMES[name]


def count(pairs: int) -> str:
    """A number of things with its thousands apart."""
    return f"{pairs:,}"


def printable(text: str) -> str:
    """Text that any page can hold: what is no character of a document, or turns the direction of writing, goes.

    A path may hold bytes that are not UTF-8, control characters, or marks that make `exe.gpj` of `jpg.exe`.
    """
    readable = text.encode("utf-8", "surrogateescape" if _escaped(text) else "replace").decode("utf-8", "replace")
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", readable)


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """A name for a chart, broken into lines of at most `width` characters; the middle of very long ones is left out.

    Formulas in dollars are not meant as such.
    """
    shown = " ".join(printable(text).split())
    most = width * lines - lines
    if len(shown) > most:
        half = (most - 1) // 2
        shown = f"{shown[:half]}\N{HORIZONTAL ELLIPSIS}{shown[-half:]}"
    return textwrap.fill(shown, width, break_on_hyphens=False).replace("$", r"\$")


def _escaped(text: str) -> bool:
    """Whether what is no Unicode in `text` are bytes of a file name, as Python spells them (PEP 383)."""
    surrogates = [letter for letter in text if "\ud800" <= letter <= "\udfff"]
    return all("\udc80" <= letter <= "\udcff" for letter in surrogates)
