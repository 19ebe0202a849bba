"""The program: its commands, and how failures end."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from siamese.device import keep_freed_memory
from siamese.errors import SiameseError
from siamese_cli.align import align
from siamese_cli.audit import audit
from siamese_cli.classify import classify
from siamese_cli.compare import compare
from siamese_cli.convert import convert
from siamese_cli.demo import demo
from siamese_cli.embed import embed
from siamese_cli.evaluate import evaluate
from siamese_cli.export import export
from siamese_cli.make_pairs import make_pairs
from siamese_cli.models import models
from siamese_cli.train import train
from siamese_cli.verify import verify

# Typer used click's exceptions, and brings its own since it carries click inside; this is the right one in both.
USAGE_ERROR: Any = typer.BadParameter.__base__

DONE, INTERNAL, MISTAKE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="siamese",
    help="Learn, decide and measure: same or different? Verification by transfer learning.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    demo,
    align,
    audit,
    make_pairs,
    convert,
    train,
    evaluate,
    compare,
    verify,
    embed,
    classify,
    export,
    models,
):
    app.command()(command)


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
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", MISTAKE)
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
    sys.exit(run())


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"siamese: {' '.join(message.split())}\n")
    return code
