"""The program: its commands, and how failures end."""

import gc
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from siamese.device import keep_freed_memory
from siamese.errors import SiameseError

# Typer used click's exceptions, and brings its own since it carries click inside; this is the right one in both.
USAGE_ERROR: Any = typer.BadParameter.__base__

DONE, INTERNAL, MISTAKE, INTERRUPTED = 0, 1, 2, 130

# In the order of `--help`. The command `make-pairs` is the function `make_pairs` of the module `make_pairs`.
COMMANDS = (
    *("demo", "align", "audit", "make-pairs", "convert", "train", "evaluate"),
    *("compare", "verify", "embed", "classify", "export", "models", "doctor"),
)
PLAIN: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is asked for: who runs one does not wait for the others."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        function = name.replace("-", "_")
        alone = typer.Typer(**PLAIN)
        alone.command(name)(getattr(import_module(f"siamese_cli.{function}"), function))
        return get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": _Commands()})


app = typer.Typer(
    name="siamese",
    cls=_Group,
    help="Learn, decide and measure: same or different? Verification by transfer learning.",
    **PLAIN,
)


def _version(value: bool) -> None:
    if value:
        import siamese

        typer.echo(siamese.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print it."),
) -> None:
    """Learn, decide and measure: same or different? Verification by transfer learning."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and give its exit code: 0 done, 2 a user's mistake, 1 an internal error, 130 interrupted."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app(args=given or ["--help"], standalone_mode=False)
    except SiameseError as error:
        return _fail(str(error), MISTAKE)
    except USAGE_ERROR as error:
        command = error.ctx.command_path if error.ctx is not None else "siamese"
        return _fail(f"{error.format_message()} (see {command} --help)", MISTAKE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe left: nobody is there to be told. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except MemoryError:
        return _fail("out of memory; use smaller batches, images or inputs", INTERNAL)
    except OSError as error:
        from siamese.full_disk import word_os_error

        return _fail(word_os_error(error), MISTAKE)
    except Exception as error:
        if os.environ.get("SIAMESE_DEBUG"):
            traceback.print_exc()
        kind = type(error).__name__
        return _fail(f"internal error: {kind}: {error} (SIAMESE_DEBUG=1 shows where; please report it)", INTERNAL)
    if code == INTERRUPTED:  # newer typer turns the interruption into its exit code by itself
        return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else DONE


def main() -> None:
    """Entry point of `siamese`."""
    keep_freed_memory()
    momentary = sys.argv[1:2] == ["compare"]
    if momentary:  # over before garbage could gather: to look for it while modules are imported is for nothing
        gc.disable()
    code = run()
    if momentary and "torch" not in sys.modules:  # what is left ends with the process: likewise
        gc.freeze()  # with torch, Triton would complain of it at the end
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"siamese: {' '.join(message.split())}\n")
    return code
