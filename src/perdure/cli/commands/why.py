"""How `perdure why` looks."""

from __future__ import annotations

from perdure.cli.exit_codes import DONE
from perdure.cli.view.show_page import STYLES, as_json
from perdure.cli.view.terminal import Printer, one_line
from perdure.operations.find_run import find_run
from perdure.operations.location import Place, opened
from perdure.operations.why import explain


def main(place: Place, reference: str, *, json: bool) -> int:
    """`perdure why`: returns the exit code."""
    with opened(place, reference) as store:
        why = explain(store, find_run(store, reference), place)
    if json:
        as_json(why)
        return DONE
    printer = Printer()
    printer.line(one_line(f"run {why.run} {_STANDING[why.status]}"), STYLES[why.status] or "bold")
    for reason in why.reasons:
        printer.line(one_line(f"  {reason}"))
    if why.code is not None:
        printer.line(f"  this kind of failure: {why.code}")
    width = max((len(way.purpose) for way in why.ways), default=0) + 1
    for way in why.ways:
        printer.line(f"{way.purpose + ':':<{width}} {way.command}", "bold")
    return DONE


_STANDING = {
    "running": "is running",
    "stopping": "is about to end",
    "interrupted": "is interrupted",
    "failed": "has failed",
    "parked": "is set aside",
    "done": "is done",
    "dead": "is done, with dead letters",
    "cancelled": "was cancelled",
}
