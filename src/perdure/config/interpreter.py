"""Commands that start another Python: one place, so that none of them imports what lies in the working directory."""

from __future__ import annotations

import sys
from pathlib import Path

_CALL_MAIN = (
    "import sys; from importlib import import_module; sys.path.append(sys.argv.pop(1));"
    "sys.exit(import_module(sys.argv.pop(1)).main())"
)
"""Where perdure lies comes last on the path: it need not be installed, and hides nothing that is."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that calls `main()` of a module of perdure's own.

    `-P`: the working directory would come first on the path otherwise, and a `msgspec.py` that lies there be executed.
    Options of this interpreter, such as -O, hold there as well.

    Args:
        module: its dotted name.
        arguments: what follows.
    """
    return [
        sys.executable,
        *_flags(),
        "-P",
        "-c",
        _CALL_MAIN,
        str(Path(__file__).parents[2]),
        module,
        *arguments,
    ]


def _flags() -> list[str]:
    """The options of this interpreter, for another one that executes the same code: -O, -W, -X and others.

    Not -S: such a program has put together its own list of folders, which is handed over by itself.
    """
    import subprocess

    known = getattr(subprocess, "_args_from_interpreter_flags", list)  # what multiprocessing takes
    return [flag for flag in known() if flag != "-S"]


def bare_command(code: str, *arguments: str) -> list[str]:
    """The command that runs code with nothing but the standard library: no environment, no site-packages, no folder.

    Args:
        code: what to run.
        arguments: what follows.
    """
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


def script_command(script: str | Path) -> list[str]:
    """The command that runs a script of the user's, as the user does: its own folder comes first on the path."""
    return [sys.executable, str(script)]
