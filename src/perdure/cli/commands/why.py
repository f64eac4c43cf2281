"""`perdure why`."""

from __future__ import annotations

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Reference, Where
from perdure.cli.view.ps_table import STYLES
from perdure.cli.view.terminal import Printer, as_json, one_line
from perdure.config.page_links import page_way
from perdure.operations.find_run import find_run
from perdure.operations.location import opened
from perdure.operations.why import explain


def why(run: Reference, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Carry out `perdure why`; returns the exit code."""
    location = where.locate()
    with opened(location, run) as store:
        record = find_run(store, run)
        found = explain(store, record, location)
    if json:
        as_json(found)
        return DONE
    printer = Printer()
    printer.line(one_line(f"run {found.run} {_STANDING[found.status]}"), STYLES[found.status] or "bold")
    for reason in found.reasons:
        printer.line(one_line(f"  {reason}"))
    if found.code is not None:
        printer.line(f"  this kind of failure: {found.code}")
    ways = [*((way.purpose, way.command) for way in found.ways), *page_way(record.id, record.path)]
    width = max((len(purpose) for purpose, _ in ways), default=0) + 1
    for purpose, command in ways:
        printer.line(f"{purpose + ':':<{width}} {command}", "bold")
    return DONE


_STANDING = {
    "queued": "is queued",
    "suspended": "is suspended",
    "running": "is running",
    "stopping": "is about to end",
    "interrupted": "is interrupted",
    "failed": "has failed",
    "parked": "is set aside",
    "done": "is done",
    "dead": "is done, with dead letters",
    "cancelled": "was cancelled",
    "superseded": "is superseded",
}
