"""`perdure doctor`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import ANY_STATE_FILE, Json, WhichStateFile
from perdure.cli.view.doctor_page import show_health, show_set_aside, show_skipped
from perdure.cli.view.terminal import as_json
from perdure.errors import OptionError
from perdure.operations.doctor import examine
from perdure.operations.set_aside import set_aside as move_away
from perdure.operations.skip_damaged_journal import skip_damaged_journal

Away = Annotated[
    bool, Parameter("--set-aside", negative="", help="Move the state file away, with all that belongs to it.")
]

Skip = Annotated[
    bool,
    Parameter(
        "--skip-damaged", negative="", help="Give up what lies behind damage in the journal; a copy of it is kept."
    ),
]


def doctor(
    *, set_aside: Away = False, skip_damaged: Skip = False, json: Json = False, where: WhichStateFile = ANY_STATE_FILE
) -> int:
    """Carry out `perdure doctor`; returns the exit code."""
    if set_aside and skip_damaged:
        raise OptionError("--set-aside and --skip-damaged exclude each other", "name one of them")
    if skip_damaged:
        skipped = skip_damaged_journal(where.locate())
        if json:
            as_json(skipped)
        else:
            show_skipped(skipped)
        return DONE
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
