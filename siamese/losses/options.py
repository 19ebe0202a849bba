"""Options of losses as text, typed by the signature that takes them."""

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from siamese.errors import OptionError, unknown_name

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def option_types(loss: Callable[..., Any]) -> dict[str, Any]:
    """Type of each option of a loss: the keyword-only arguments of its class."""
    initialise = loss.__init__ if inspect.isclass(loss) else loss
    hints = get_type_hints(initialise)
    parameters = inspect.signature(initialise).parameters.values()
    return {each.name: hints[each.name] for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


def option_defaults(loss: Callable[..., Any]) -> dict[str, Any]:
    """Default of each option of a loss."""
    parameters = inspect.signature(loss).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


def read_options(name: str, loss: Callable[..., Any], written: Mapping[str, str], where: str) -> dict[str, Any]:
    """Turn options as written into values of the types that a loss declares.

    Args:
        name: of the loss.
        loss: its class.
        written: option to text.
        where: what messages begin with.

    Raises:
        OptionError: an option that the loss does not have, or text that is not of its type.
    """
    types = option_types(loss)
    for option in written:
        if option not in types:
            raise unknown_name(f"option of loss {name!r}:", option, types)
    return {option: _read(types[option], name, option, text, where) for option, text in written.items()}


def _read(kind: Any, name: str, option: str, text: str, where: str) -> Any:
    if get_origin(kind) in (Union, UnionType):  # a default that depends on other options is None
        (kind,) = (member for member in get_args(kind) if member is not NoneType)
    text = text.strip()
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise unknown_name(f"{option} of loss {name!r}:", text, get_args(kind))
        return text
    if kind is bool:
        return _known(_WORDS.get(text.lower()), option, text, where, "true or false")
    if kind is int:
        return _known(_number(int, text), option, text, where, "a whole number")
    if kind is float:
        return _known(_number(float, text), option, text, where, "a number")
    return text


def _number(kind: type[int] | type[float], text: str) -> int | float | None:
    try:
        return kind(text)
    except ValueError:
        return None


def _known(value: Any, option: str, text: str, where: str, expected: str) -> Any:
    if value is None:
        raise OptionError(f"{where}: {option} is {text!r}, expected {expected}")
    return value
