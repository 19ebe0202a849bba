"""Options in files: YAML, TOML or JSON in, YAML out.

YAML is read by the core schema of version 1.2, where `no`, `off` and `1:9` are text and `1e-4` is a number: the
version 1.1 that most readers of Python speak would turn `align: no` into False and leave a rate of `1e-4` as text.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.atomic import write_text
from siamese.errors import OptionError

if TYPE_CHECKING:
    import yaml

# Section 10.3.2 of the YAML 1.2.2 specification; the letters are those that a value may begin with.
_CORE: tuple[tuple[str, str, str], ...] = (
    ("null", r"null|Null|NULL|~|", "nN~\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
_WRITTEN = "resolved by siamese; `siamese train --config FILE` with this file repeats the run"


def read_config_file(path: Path) -> dict[str, Any]:
    """Read options from a YAML (`.yaml`, `.yml`), JSON (`.json`) or TOML file (any other name).

    Keys are unique. Relative paths among the options are left as they are, so they mean what they mean on the
    command line: relative to the current directory, not to the file.

    Args:
        path: the file, UTF-8.

    Returns:
        Options by name, as `make_train_config` checks them.

    Raises:
        OptionError: missing, not of its form, a key given twice, or not a table of options.

    Example:
        >>> read_config_file(Path("recipes/inception_triplet.yaml"))["loss"]  # doctest: +SKIP
        'triplet+mining=semihard'
    """
    form, parse = _FORMS.get(path.suffix.lower(), ("TOML", tomllib.loads))
    try:
        values = parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionError(f"--config {path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise OptionError(f"--config {path}: not valid {form} (nested too deeply)") from error
    except ValueError as error:  # the parsers' errors, and bytes that are no UTF-8
        raise OptionError(f"--config {path}: not valid {form} ({error})") from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise OptionError(f"--config {path}: expected a table of options, found {found}")
    for key in values:
        if not isinstance(key, str):
            raise OptionError(f"--config {path}: the key {key!r} is no name of an option; expected NAME: value")
    return values


def write_config_file(path: Path, values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
    """Write options as YAML that `read_config_file` gives back unchanged.

    Args:
        path: the file to write, whole or not at all.
        values: options by name: text, numbers, booleans, None, and lists of them.
        defaults: what each option is unless given; options that differ come first, the others below a heading.
    """
    write_text(path, config_text(values, defaults))


def config_text(values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
    """The text that `write_config_file` writes."""
    known = {key: _plain(value) for key, value in (defaults or {}).items()}
    usual = {key: value for key, value in values.items() if key in known and known[key] == value}
    chosen = {key: value for key, value in values.items() if key not in usual}
    text = f"# {_WRITTEN}\n"
    if chosen:
        text += _dump(chosen)
    if usual:
        text += f"\n# as they are unless given\n{_dump(usual)}"
    return text


def _plain(value: Any) -> Any:
    """A default as a file holds it: tuples are lists there, and paths are text."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _dump(values: Mapping[str, Any]) -> str:
    import yaml

    class CoreDumper(yaml.SafeDumper):
        """Quotes what either version of YAML would take for something else than text; lists stay on one line."""

        def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
            return super().represent_sequence(tag, sequence, flow_style=True)

        def ignore_aliases(self, data: Any) -> bool:
            return True  # what is written twice stands there twice

    _add_core(CoreDumper)
    # An unbounded width keeps long text from being folded.
    return yaml.dump(dict(values), Dumper=CoreDumper, sort_keys=False, allow_unicode=True, width=2**31)


def _parse_yaml(text: str) -> Any:
    import yaml

    class CoreLoader(yaml.SafeLoader):
        """The core schema: no dates, no merge keys, no aliases (one may stand for 10^9 values), no key twice."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - yaml's own name, filled below

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.get_event().start_mark  # type: ignore[no-untyped-call]
                raise ValueError(f"line {mark.line + 1}: aliases (*NAME) are not taken; write the value itself")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                name = str(key.value)  # of a list its nodes, refused below
                if name in seen:
                    raise ValueError(f"line {key.start_mark.line + 1}: the key {name!r} is given twice")
                seen.add(name)
            return super().construct_mapping(node, deep)

    _add_core(CoreLoader)
    CoreLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
    try:
        return yaml.load(text, Loader=CoreLoader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from error


def _add_core(kind: "type[yaml.SafeLoader] | type[yaml.SafeDumper]") -> None:
    for tag, pattern, first in _CORE:
        letters = ["" if letter == "\0" else letter for letter in first]
        kind.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), letters)


def _reason(error: "yaml.YAMLError") -> str:
    """A parser's error in one line: what, and in which line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return where + " ".join(str(problem).split())


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return values


_FORMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    ".yaml": ("YAML", _parse_yaml),
    ".yml": ("YAML", _parse_yaml),
    ".json": ("JSON", _parse_json),
}
