"""`perdure check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import Engine, Json
from perdure.cli.view.terminal import Printer, as_json, count
from perdure.config import settings
from perdure.errors import OptionError


def check(
    files: Annotated[list[Path], Parameter(help="Scripts that were edited.")],
    /,
    *,
    json: Json = False,
    engine: Engine = None,
) -> int:
    """Carry out `perdure check`; returns the exit code."""
    from perdure.operations import replay_check

    if not files:
        raise OptionError("no script is named", "perdure check FILE")
    checks = replay_check.check(engine or settings.engine_url(), files)
    misfits = [one for one in checks if not one.fits]
    if json:
        as_json(checks)
        return FAILED if misfits else DONE
    printer = Printer()
    for one in misfits:
        printer.line(f"run {one.run} does not fit: {one.where}", "red")
    fitting = len(checks) - len(misfits)
    printer.line(f"{count(fitting, 'run')} under way fit{'s' if fitting == 1 else ''}", "green" if not misfits else "")
    if misfits:
        printer.line(f"{count(len(misfits), 'run')} would stop; run again, completed steps keep their results")
    return FAILED if misfits else DONE
