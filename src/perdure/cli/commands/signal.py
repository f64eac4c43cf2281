"""`perdure signal`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Reference, Where
from perdure.cli.view.terminal import Printer, as_json
from perdure.operations import deeds
from perdure.operations.signals import send


def signal(
    run: Reference,
    event: Annotated[str, Parameter(help="Its name, as the wait has it.")],
    value: Annotated[str | None, Parameter(help="What is sent, as JSON.", allow_leading_hyphen=True)] = None,
    /,
    *,
    key: Annotated[str, Parameter(help="Tells signals of one name apart.")] = "",
    id: Annotated[str | None, Parameter(help="Sent again with the same one, nothing is stored.")] = None,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Carry out `perdure signal`; returns the exit code."""
    location = where.locate()
    sent = send(location, run, event, value, key, id)
    if sent.outcome != "repeated":
        deeds.note(location, "signal", sent.run, f"{event} {key}".rstrip())
    if json:
        as_json(sent)
        return DONE
    Printer().line(sent.text())
    if sent.advice:
        Printer(sys.stderr).line(f"  {sent.advice}", "yellow")
    return DONE
