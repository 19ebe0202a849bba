"""The pickle inside a `.bin` file of the face-recognition community, read without unpickling.

Such a file is the pickle of (list of encoded images, list of truth values). Unpickling calls whatever the file names;
here each instruction of the stream is looked up in a short table, and those that could call, import or build anything
but lists, tuples, bytes, text, numbers and truth values are refused. Names and numbers of the instructions are
those of Python's `pickletools`.
"""

import codecs
import mmap
import pickletools
from collections.abc import Callable
from typing import IO, Any, cast

_MARK = object()
# Python 3 spells bytes in the protocols of Python 2 as a call of this function on text; nothing is called here.
_ENCODE = object()
_Stack = list[Any]

# The largest sets of the field have 7,000 pairs, of some 100,000 instructions. An empty list costs one byte in the
# file and sixty in memory.
_MOST = 10_000_000


class PickleRefusedError(ValueError):
    """The stream is broken, or holds something else than lists of bytes and truth values."""


def read_plain_pickle(file: IO[bytes] | mmap.mmap) -> Any:
    """Build the lists, tuples, bytes, text, numbers and truth values of a pickle; text of Python 2 becomes bytes.

    Args:
        file: in memory, as `io.BytesIO` or mapped: of a file on disk, Python reserves what a length claims before it
            finds out how much there is.

    Raises:
        PickleRefusedError: names the instruction or the function that is not read, or what is broken.
    """
    stack: _Stack = []
    memo: dict[int, Any] = {}
    opcodes = {info.code: info for info in pickletools.opcodes}
    for _ in range(_MOST):
        code = file.read(1)
        opcode = opcodes.get(code.decode("latin-1"))
        if opcode is None:
            raise PickleRefusedError("the file ends too early" if not code else f"byte {code!r} is no instruction")
        if opcode.name == "STOP":
            return _result(stack)
        try:
            _step(opcode, file, stack, memo)
        except PickleRefusedError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PickleRefusedError(f"instruction {opcode.name} is broken ({reason[:200]})") from None
    raise PickleRefusedError(f"it has more than {_MOST:,} instructions")


def _result(stack: _Stack) -> Any:
    if len(stack) != 1 or stack[0] is _MARK or stack[0] is _ENCODE:
        raise PickleRefusedError("it holds no single value")
    return stack[0]


def _step(opcode: pickletools.OpcodeInfo, file: IO[bytes] | mmap.mmap, stack: _Stack, memo: dict[int, Any]) -> None:
    name = opcode.name
    if name == "STRING":  # the reader of pickletools takes it for ASCII
        argument: Any = _quoted(file.readline())
    else:
        argument = None if opcode.arg is None else opcode.arg.reader(cast(IO[bytes], file))
    if name in _LITERALS:
        stack.append(_LITERALS[name](argument))
    elif name in _BUILDERS:
        _BUILDERS[name](stack)
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "GLOBAL":
        stack.append(_named(argument))
    elif name == "STACK_GLOBAL":
        stack.append(_named(" ".join(_take(stack, 2))))
    elif name not in ("PROTO", "FRAME"):
        raise PickleRefusedError(f"instruction {name} is not read")


def _quoted(line: bytes) -> bytes:
    text = line.rstrip(b"\r\n")
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise PickleRefusedError("instruction STRING is broken (no quotes)")
    return codecs.escape_decode(text[1:-1])[0]


def _named(name: str) -> object:
    if name == "_codecs encode":
        return _ENCODE
    raise PickleRefusedError(f"it names {name.replace(' ', '.')[:200]}, and nothing is imported or called")


def _reduce(stack: _Stack) -> None:
    arguments, function = stack.pop(), stack.pop()
    if function is not _ENCODE or not isinstance(arguments, tuple) or len(arguments) != 2:
        raise PickleRefusedError("it calls something, and nothing is called")
    text, encoding = arguments
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleRefusedError("it encodes text in another way than Python writes bytes")
    stack.append(text.encode("latin-1"))


def _to_mark(stack: _Stack) -> list[Any]:
    """Take what lies above the last mark off the stack, and the mark."""
    for position in range(len(stack) - 1, -1, -1):
        if stack[position] is _MARK:
            items = stack[position + 1 :]
            del stack[position:]
            return items
    raise PickleRefusedError("a mark is missing")


def _take(stack: _Stack, number: int) -> tuple[Any, ...]:
    if len(stack) < number:
        raise IndexError("nothing on the stack")
    items = tuple(stack[len(stack) - number :])
    del stack[len(stack) - number :]
    return items


def _append(stack: _Stack, items: list[Any]) -> None:
    """Add to the list on the stack; its items have been taken off before."""
    if not isinstance(stack[-1], list):
        raise PickleRefusedError("it appends to something else than a list")
    stack[-1].extend(items)


_LITERALS: dict[str, Callable[[Any], Any]] = {
    "MARK": lambda _: _MARK,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "STRING": bytes,
    # pickletools decodes the strings of Python 2 as Latin-1, which loses nothing.
    "SHORT_BINSTRING": lambda text: text.encode("latin-1"),
    "BINSTRING": lambda text: text.encode("latin-1"),
} | dict.fromkeys(
    (
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("INT", "BININT", "BININT1", "BININT2"),
    ),
    lambda value: value,
)
_BUILDERS: dict[str, Callable[[_Stack], None]] = {
    "LIST": lambda stack: stack.append(_to_mark(stack)),
    "TUPLE": lambda stack: stack.append(tuple(_to_mark(stack))),
    "TUPLE1": lambda stack: stack.append(_take(stack, 1)),
    "TUPLE2": lambda stack: stack.append(_take(stack, 2)),
    "TUPLE3": lambda stack: stack.append(_take(stack, 3)),
    "APPEND": lambda stack: _append(stack, [stack.pop()]),
    "APPENDS": lambda stack: _append(stack, _to_mark(stack)),
    "REDUCE": _reduce,
}
