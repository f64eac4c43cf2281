"""The script of a run that a state file names, loaded because something of it is to be executed."""

from __future__ import annotations

from pathlib import Path

from perdure.api.run_outcome import known_workflow
from perdure.config.script_loader import load_script
from perdure.core.records import RunRecord
from perdure.engines.recorded_script import recorded_script
from perdure.errors import NotFound


def load_script_of(run: RunRecord, state: Path | None) -> None:
    """Load the script of a run, unless this process has its workflow.

    Args:
        run: as it was read.
        state: the state file; None: a cluster, whose scripts are anywhere.

    Raises:
        UsageError: the script is another user's, or every user can write it, or it lies elsewhere.
        NotFound: it is gone.
        Exception: whatever it raises when it is loaded.
    """
    if known_workflow(run) is not None:
        return
    path = recorded_script(run, state)
    if not path.is_file():
        raise NotFound(
            f"the script of run {run.id} does not exist: {path}",
            "put it back, or name where it is now: perdure cancel RUN FILE",
        )
    line = None
    if state is not None:
        from perdure.store.runs import Store

        store = Store(state, read_only=True)
        try:
            line = store.command_line(run)
        finally:
            store.close()
    load_script(path, line=line)
