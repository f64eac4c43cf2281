"""Runs that an executor has to leave: they failed, cannot be gone on with here, or were cancelled."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from perdure.config import secrets
from perdure.core.commands import commands_in
from perdure.core.exceptions import capture
from perdure.core.execution.run_effects import Taken
from perdure.core.execution.run_refusals import STAYS
from perdure.core.policies.verdicts import pack_stop
from perdure.core.redaction.printable import one_line
from perdure.core.values import codec
from perdure.engines.local import LocalEngine
from perdure.engines.local.run_lifecycle import stop_of
from perdure.engines.local.worker.loaded_scripts import Program
from perdure.errors import Cancelled, PerdureError, Released, StateError, Suspended
from perdure.store import claims
from perdure.store.schedule_runs import replaced_by

LATER = 5.0
"""Seconds until a run is tried again that the state file could not be written for."""


class LeftRuns:
    """Says why a run was left, and gives it back where it is to be gone on with.

    Args:
        engine: executes the runs.
        program: what is loaded.
        state: the state file.
        say: called with a line for people.
        cannot_go_on: called with an error of the state file, after which the process has to end.
    """

    def __init__(
        self,
        engine: LocalEngine,
        program: Program,
        state: Path,
        say: Callable[[str], None],
        cannot_go_on: Callable[[StateError], None],
    ) -> None:
        self._engine, self._program, self._state = engine, program, state
        self._say, self._cannot_go_on = say, cannot_go_on

    def left(self, taken: Taken, error: BaseException) -> bool:
        """A run has failed, or was left by this; returns whether that is nobody's wish."""
        run = taken.run
        name = f"{shlex.quote(run.id)} --state {shlex.quote(str(self._state))}"
        if isinstance(error, Released | Suspended):
            return False
        if isinstance(error, Cancelled) and self._is_cancelled(run.rid):
            waited = "" if error.what.startswith(f"run {run.id} ") else f": {first_line(error)}"
            self._say(f"run {run.id} was cancelled{waited or self._instead(run.rid)}")
            return False
        if isinstance(error, StateError):
            self._say(f"run {run.id} is tried again later: {first_line(error)}")
            self._give_back(taken, wake=self._now() + LATER)
        elif isinstance(error, PerdureError):
            if not self._give_back(taken, error):
                self._say(f"run {run.id} failed: {first_line(error)}; see more: perdure show {name}")
            else:
                # What names its own ways out would stop at the same place if it were only gone on with.
                way = "go on: " + (", or ".join(commands_in(error.hint)) or f"perdure resume {name}")
                if codec.withholds(run.input):
                    way = "go on: run its script with the same arguments, which gives the Secret again"
                elif type(error).code in STAYS and not commands_in(error.hint):
                    way = f"what to do: {error.hint}"
                self._say(f"run {run.id} is on hold: {first_line(error)}; {way}")
        elif isinstance(error, Exception):  # the user's own: it is recorded, and alerted
            line = secrets.conceal(capture.to_fault(error).line)
            self._say(f"run {run.id} failed: {line}; see more: perdure show {name}")
        else:  # sys.exit and the like: it is the run that ends there
            self._say(f"run {run.id} was left by {type(error).__name__}; go on: perdure resume {name}")
        return True

    def _hold(self, error: PerdureError) -> str:
        return one_line(f"{self._program.version()} {type(error).code}: {first_line(error)}")

    def _give_back(self, taken: Taken, held: PerdureError | None = None, *, wake: float | None = None) -> bool:
        now, hold, stopped = self._now(), None, None
        if held is not None:
            hold, stopped = self._hold(held), pack_stop(stop_of(taken.run, held, now))
        try:
            return claims.give_back(self._engine.store, taken.run, now, hold=hold, stopped=stopped, wake=wake)
        except StateError as error:
            # The run is this process's as long as it lives, so that it has to end for somebody to go on with the run.
            self._cannot_go_on(error)
            return False

    def _is_cancelled(self, rid: int) -> bool:
        try:
            return self._engine.store.run_by_number(rid).status == "cancelled"
        except StateError:
            return False

    def _instead(self, rid: int) -> str:
        """For what a run was cancelled, if that was its schedule."""
        try:
            following = replaced_by(self._engine.store, rid)
        except StateError:
            return ""
        return "" if following is None else f" for run {following}: its schedule says overlap='cancel'"

    def _now(self) -> float:
        return self._engine.world.now()


def first_line(error: PerdureError) -> str:
    """What has happened, in a line; what follows are details, which `perdure show` has too."""
    return error.what.partition("\n")[0].rstrip(":")
