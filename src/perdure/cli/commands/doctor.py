"""`perdure doctor`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import ANY_STATE_FILE, Json, WhichStateFile
from perdure.cli.view.doctor_page import show_health, show_set_aside
from perdure.cli.view.terminal import as_json
from perdure.operations.doctor import examine
from perdure.operations.set_aside import set_aside as move_away

Away = Annotated[
    bool, Parameter("--set-aside", negative="", help="Move the state file away, with all that belongs to it.")
]


def doctor(*, set_aside: Away = False, json: Json = False, where: WhichStateFile = ANY_STATE_FILE) -> int:
    """Carry out `perdure doctor`; returns the exit code."""
    if set_aside:
        moved = move_away(where.locate())
        if json:
            as_json(moved)
        else:
            show_set_aside(moved)
        return DONE
    found = examine(where.locate())
    if json:
        as_json(found)
    else:
        show_health(found)
    return DONE if found.ok else FAILED
