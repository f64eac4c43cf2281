"""The `perdure` command: how the operations look on a command line."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import sys
from contextlib import suppress

TYPE_CHECKING = False  # `perdure --version` needs no more than these

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["entry", "main"]

WITHOUT_OPTIONS: dict[tuple[str, ...], tuple[str, str]] = {
    ("ps",): ("perdure.cli.newest_runs", "list_newest"),
    ("mcp",): ("perdure.mcp.server", "serve"),
}
"""Command lines in which there is nothing to parse, and the function that carries them out: what parses takes as long
to load as all of `ps`, and a fifth of the start of `mcp`."""


PAGES = frozenset({"--help", "-h", "--version"})
"""What is printed in the place of a command, if it is asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Args:
        arguments: what was typed after `perdure`; by default what this process was given.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 3 done with dead letters, 130 interrupted.
    """
    from perdure.cli.exit_codes import FAILED
    from perdure.cli.standard_streams import give_output_up, is_of_output, output_lost
    from perdure.cli.view.errors import show_error
    from perdure.config.command_line import own_program

    tokens = own_program() if arguments is None else arguments
    try:
        try:
            code = _carried_out(tokens)
        except BrokenPipeError:
            raise
        except OSError as error:
            if is_of_output(error):
                raise
            # What a script raises is shown with its traceback, further down: this is of a file of perdure's own.
            from perdure.config.os_errors import named

            code = show_error(named(error), json="--json" in tokens)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        give_output_up()  # the reader has seen enough
        return FAILED
    except OSError as error:
        give_output_up()
        with suppress(OSError):
            show_error(output_lost(error), json=False)
        return FAILED


def _carried_out(tokens: Sequence[str]) -> int:
    """Carry out a command line, and print what it has come to.

    Raises:
        OSError: of standard output, or of a file of perdure's own.
    """
    from perdure.cli.exit_codes import DONE, INTERRUPTED
    from perdure.cli.view.errors import show_error
    from perdure.errors import PerdureError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a result that the terminal cannot show is no failure
    try:
        if tuple(tokens) not in WITHOUT_OPTIONS:
            return _parsed(tokens)
        module, function = WITHOUT_OPTIONS[tuple(tokens)]
        code = getattr(importlib.import_module(module), function)()
        return code if isinstance(code, int) else DONE
    except PerdureError as error:
        return show_error(error, json="--json" in tokens)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _parsed(tokens: Sequence[str]) -> int:
    """Carry out a command line with all that it may hold."""
    from cyclopts import CycloptsError

    from perdure.cli.app import app
    from perdure.cli.exit_codes import DONE, USAGE
    from perdure.cli.view.errors import show_error

    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        code = command(*bound.args, **bound.kwargs)
    except CycloptsError as error:
        from perdure.cli.view.usage import usage_error

        return show_error(usage_error(error), json="--json" in tokens)
    if isinstance(code, int):
        return code
    # Where no command is named, the page is shown too; a script that has lost one is not to take that for done.
    return DONE if PAGES.intersection(tokens) else USAGE


def entry() -> None:
    """What the `perdure` command is: carry out the command line of this process, and end it."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from perdure.cli.standard_streams import open_closed_streams

        open_closed_streams()
    if sys.argv[1:] == ["--version"]:
        from perdure.core.program_version import VERSION  # the rest is a fifth of a second, for one line

        print(VERSION)
        sys.exit()
    # No garbage is looked for in what is loaded before a command begins, now or at the end: a fifth of a short command.
    gc.disable()
    from perdure.core.loading import load_msgspec

    load_msgspec()
    module, _ = WITHOUT_OPTIONS.get(tuple(sys.argv[1:]), ("perdure.cli.app", ""))
    importlib.import_module(module)
    gc.freeze()
    gc.enable()
    code = main()
    if (loader := sys.modules.get("perdure.config.script_loader")) is not None:
        loader.is_at_end()
    if "temporalio" not in sys.modules:
        sys.exit(code)
    # The SDK's own threads outlive the interpreter's end, and now and then one that comes back too late aborts it.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
