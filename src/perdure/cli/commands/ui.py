"""`perdure ui`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANY_STATE_FILE, WhichStateFile
from perdure.cli.view.terminal import Printer


def ui(
    *,
    port: Annotated[
        int | None,
        Parameter(validator=Number(gte=0, lte=65535), help="Where to listen; by default 8737, or a free one."),
    ] = None,
    host: Annotated[str, Parameter(help="The address to listen at; another one needs --allow-host.")] = "127.0.0.1",
    socket: Annotated[
        Path | None, Parameter(help="A Unix socket to listen at instead, for a proxy or ssh -L; 0600.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        Parameter("--allow-host", negative="", help="A name, with its port, by which others reach it."),
    ] = None,
    allow_actions: Annotated[
        bool,
        Parameter(
            "--allow-actions", negative="", help="Whoever has the token may change something from elsewhere too."
        ),
    ] = False,
    read_only: Annotated[bool, Parameter("--read-only", negative="", help="Nothing can be changed.")] = False,
    open: Annotated[bool, Parameter(help="Open the browser.")] = True,
    root_path: Annotated[
        str, Parameter("--root-path", help="The path below which a proxy serves it, such as /perdure.")
    ] = "",
    where: WhichStateFile = ANY_STATE_FILE,
) -> int:
    """Carry out `perdure ui`; returns the exit code."""
    from perdure.web.server import Options, serve

    printer = Printer(sys.stderr)
    options = Options(host, port, socket, tuple(allow_host or ()), allow_actions, read_only, open, root_path)
    serve(where.locate_for_runs(), options, printer.line)
    return DONE
