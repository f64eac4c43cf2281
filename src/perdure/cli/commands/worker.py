"""`perdure worker`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import Engine, State
from perdure.cli.view.terminal import Printer, safe
from perdure.engines.local.worker.options import GRACE
from perdure.errors import OptionError
from perdure.operations.worker import Wanted, is_local, links, place_of, serve, serve_here


def worker(
    *files: Annotated[Path, Parameter(help="Scripts that define workflows.")],
    module: Annotated[
        list[str] | None, Parameter(("--module", "-m"), negative="", help="A module that defines workflows.")
    ] = None,
    queue: Annotated[
        list[str] | None, Parameter("--queue", negative="", help="Only the queued runs of this queue.")
    ] = None,
    slots: Annotated[int, Parameter(help="How many runs a process executes at a time.")] = 10,
    processes: Annotated[int, Parameter(help="How many processes execute runs.")] = 1,
    once: Annotated[bool, Parameter(negative="", help="Do what is due now, and end.")] = False,
    grace: Annotated[
        str, Parameter(help="How long steps in flight may take when the worker is to end.")
    ] = f"{GRACE:g}s",
    http: Annotated[
        str | None, Parameter("--http", help="Serve the links of approvals and signals there: 127.0.0.1:8787.")
    ] = None,
    public_url: Annotated[
        str | None, Parameter(help="How that is reached from outside: https://host/path. As the settings say.")
    ] = None,
    state: State = None,
    engine: Engine = None,
) -> int:
    """Carry out `perdure worker`; returns the exit code."""
    wanted = Wanted(
        files, module or (), queue or (), slots, processes, once, grace, http=http or "", public_url=public_url or ""
    )
    wanted.check()
    location = place_of(wanted, state, engine)
    printer = Printer(sys.stderr)

    def say(text: str) -> None:
        printer.line(text)
        sys.stderr.flush()

    if is_local(location):

        def show_broken(path: str, traceback: str) -> None:
            sys.stderr.write(safe(traceback))
            say(f"{path} cannot be loaded: it is not served until it is edited")

        return serve_here(wanted, location, say, show_broken)
    if module or queue or once:
        raise OptionError(
            "-m, --queue and --once are for a worker of one machine", "name the scripts: perdure worker FILE"
        )
    with links(wanted, location, say):
        serve(
            location.engine,
            files,
            lambda stems: say(f"worker for {', '.join(stems)} at {location.engine}; Ctrl-C ends it"),
            grace,
        )
    say("worker ended")
    return DONE
