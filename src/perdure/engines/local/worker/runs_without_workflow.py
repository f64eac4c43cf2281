"""Runs whose workflow is not there when their script is loaded: they would be due, or queued, for ever.

They are put on hold, which is said, and go on when the script is edited.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure.config.steady_clock import steady
from perdure.engines.local import LocalEngine
from perdure.engines.local.worker.loaded_scripts import Program
from perdure.errors import NotFound
from perdure.store import runs_on_hold

HOMELESS = 60.0
"""Seconds between two looks for runs of workflows that no script defines any more."""


class RunsWithoutWorkflow:
    """Puts them on hold.

    Args:
        engine: has the state file.
        program: what is loaded.
        line: the command line of the runs that this process is for, packed; None: it serves all but those of others.
        say: called with a line for people.
    """

    def __init__(self, engine: LocalEngine, program: Program, line: bytes | None, say: Callable[[str], None]) -> None:
        self._engine, self._program, self._line, self._say = engine, program, line, say
        self._next_look = 0.0

    def hold(self, now: float) -> int:
        """Put those on hold that are due now, in seconds since the epoch.

        Returns:
            How many have a workflow that was renamed or removed, though its script can be loaded.

        Raises:
            StateError: that could not be written.
        """
        program = self._program
        for broken in program.broken:
            why = f"{program.version()} cannot be loaded: {broken.why}"
            runs_on_hold.hold_due(self._engine.store, broken.script, why, now, self._line)
        if self._line is not None or steady() < self._next_look:
            return 0
        self._next_look = steady() + HOMELESS
        found = runs_on_hold.hold_homeless(self._engine.store, *program.homes, program.several, program.version(), now)
        for one in found:
            self._tell(one)
        return sum(one.runs for one in found)

    def _tell(self, found: runs_on_hold.Homeless) -> None:
        run = found.first
        held = f"{f'{found.runs:,} runs of it are' if found.runs > 1 else f'its run {run.id} is'} on hold"
        if (run.script, run.workflow) in self._program.several:
            error = NotFound(
                f"{run.path} makes several workflows {run.workflow!r} when it is loaded, and {held}",
                "give each a name of its own, @workflow(name=...), or cancel what is left of them",
            )
        else:
            error = NotFound(
                f"{run.path} neither defines nor imports a workflow {run.workflow!r} when it is loaded, and {held}",
                f"give the workflow that name again, @workflow(name={run.workflow!r}), or import it in the script, "
                "or cancel what it has left",
            )
        self._say(f"{error.what}; {error.hint}")
        self._engine.resources.monitor.held(run, run.path, None, error)
