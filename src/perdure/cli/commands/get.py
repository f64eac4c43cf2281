"""`perdure get`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Reference, Where
from perdure.cli.view.terminal import Printer, as_json, value_json
from perdure.core.durations import seconds
from perdure.operations.published import get as look


def get(
    run: Reference,
    name: Annotated[str, Parameter(help="Of the value, as perdure.publish has it.")],
    /,
    *,
    wait: Annotated[bool, Parameter(negative="", help="Until the run has published it.")] = False,
    timeout: Annotated[str | None, Parameter(help='With --wait: how long at most, such as "30s".')] = None,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Carry out `perdure get`; returns the exit code."""
    limit = None if timeout is None else seconds(timeout, option="--timeout")
    found = look(where.locate(), run, name, wait=wait, seconds=limit)
    if json:
        as_json(found)
    elif isinstance(found.value, str):
        Printer().line(found.value)
    else:
        sys.stdout.write(value_json(found.value) + "\n")
    return DONE
