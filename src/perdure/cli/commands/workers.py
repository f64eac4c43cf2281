"""`perdure workers`."""

from __future__ import annotations

import os

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANY_STATE_FILE, Json, WhichStateFile
from perdure.cli.view.terminal import Printer, as_json, date
from perdure.operations.location import opened
from perdure.operations.workers import list_workers


def workers(*, json: Json = False, where: WhichStateFile = ANY_STATE_FILE) -> int:
    """Carry out `perdure workers`; returns the exit code."""
    with opened(where.locate_for_runs()) as store:
        views = list_workers(store)
    if json:
        as_json({"workers": views})
        return DONE
    rows = [
        (
            str(view.pid),
            date(view.since),
            ", ".join(map(os.path.basename, view.scripts)) or "-",
            ", ".join(view.queues) or "all",
            f"{view.busy} of {view.slots}" if view.ready else "starts",
            ", ".join(view.workflows) or "-",
        )
        for view in views
    ]
    Printer().table(("PID", "SINCE", "SCRIPTS", "QUEUES", "BUSY", "WORKFLOWS"), rows, [""] * len(rows))
    return DONE
