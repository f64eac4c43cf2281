"""`perdure doctor`."""

from __future__ import annotations

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import ANY_STATE_FILE, Json, WhichStateFile
from perdure.cli.view.doctor_page import show_health
from perdure.cli.view.terminal import as_json
from perdure.operations.doctor import examine


def doctor(*, json: Json = False, where: WhichStateFile = ANY_STATE_FILE) -> int:
    """Carry out `perdure doctor`; returns the exit code."""
    found = examine(where.locate())
    if json:
        as_json(found)
    else:
        show_health(found)
    return DONE if found.ok else FAILED
