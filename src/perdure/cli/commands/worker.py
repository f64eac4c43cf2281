"""`perdure worker` and `perdure check`, which are for clusters."""

from __future__ import annotations

import sys
from pathlib import Path

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.view.terminal import Printer, count
from perdure.config import settings
from perdure.errors import OptionError


def engine_meant(engine: str | None, command: str) -> str:
    """The cluster that is meant, by the option or by the settings.

    Raises:
        OptionError: none is.
    """
    url = engine or settings.engine_url()
    if url == "local":
        raise OptionError(
            f"perdure {command} works for a cluster, and none was named",
            f"perdure {command} --engine temporal://HOST:7233/NAMESPACE FILE, or set PERDURE_ENGINE",
        )
    return url


def check(engine: str | None, files: list[Path], *, json: bool) -> int:
    """`perdure check`: returns the exit code."""
    from perdure.cli.view.show_page import as_json
    from perdure.operations.worker import check

    url = engine_meant(engine, "check")
    if not files:
        raise OptionError("no script was named", "perdure check FILE")
    found = check(url, files)
    misfits = [fit for fit in found if not fit.fits]
    if json:
        as_json(found)
        return FAILED if misfits else DONE
    printer = Printer()
    for fit in misfits:
        printer.line(f"run {fit.run} does not fit: {fit.where}", "red")
    fitting = len(found) - len(misfits)
    printer.line(f"{count(fitting, 'run')} under way fit{'s' if fitting == 1 else ''}", "green" if not misfits else "")
    if misfits:
        printer.line(f"{count(len(misfits), 'run')} would stop; run again, completed steps keep their results")
    return FAILED if misfits else DONE


def worker(engine: str | None, files: list[Path]) -> int:
    """`perdure worker`: returns the exit code."""
    from perdure.operations.worker import serve

    url = engine_meant(engine, "worker")
    if not files:
        raise OptionError("no script was named", "perdure worker FILE")

    def ready(stems: list[str]) -> None:
        Printer(sys.stderr).line(f"worker for {', '.join(stems)} at {url}; Ctrl-C ends it")
        sys.stderr.flush()

    serve(url, files, ready)
    sys.stderr.write("worker ended\n")
    return DONE
