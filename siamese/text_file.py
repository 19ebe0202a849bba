"""Text that people bring, from bytes: UTF-8, with or without a byte-order mark."""

from pathlib import Path

from siamese.errors import SiameseError


def decode_text(data: bytes, path: Path, error: type[SiameseError], expected: str) -> str:
    """The text in `data`, without a byte-order mark; line ends stay as they are.

    Args:
        data: all bytes of the file.
        path: of the file, which the message names.
        error: the kind of error to raise.
        expected: what the file should hold, in words that begin with "expected".

    Raises:
        SiameseError: of the kind asked for; there is nothing in it, it is binary, or not UTF-8.

    Example:
        >>> decode_text(b"left,right", Path("pairs.csv"), SiameseError, "expected a table")
        'left,right'
    """
    if not data.strip():
        raise error(f"{path}: is empty; {expected}")
    # UTF-16 holds zero bytes too, and is named as what it is: text to be saved as UTF-8.
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise error(f"{path}: holds binary data; {expected}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data.count(b"\n", 0, failure.start) + 1
        found = f"byte 0x{data[failure.start]:02x} is not UTF-8"
        raise error(f"{path} line {line}: {found}; save the file as UTF-8") from None
