"""`perdure deeds`."""

from __future__ import annotations

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Limit, Where
from perdure.cli.view.terminal import Printer, as_json, date, one_line
from perdure.engines.features import Feature
from perdure.operations.deeds import list_deeds


def deeds(*, limit: Limit = 50, json: Json = False, where: Where = ANYWHERE) -> int:
    """Carry out `perdure deeds`; returns the exit code."""
    location = where.locate()
    location.require(Feature.STATE_FILE)
    found = list_deeds(location, limit=limit or -1)
    if json:
        as_json({"deeds": found})
        return DONE
    printer = Printer()
    if not found:
        printer.line("nothing was done by a command or on the page yet", "dim")
        return DONE
    rows = [(date(one.at), one.who, one.via, one.what, one_line(one.target), one_line(one.detail)) for one in found]
    printer.table(("WHEN", "WHO", "BY", "WHAT", "TO", "MORE"), rows)
    return DONE
