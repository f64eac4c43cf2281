"""What is asked of one run, for `why`: its sentences and commands, and the words that they are made of."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from math import inf

from perdure.config import secrets
from perdure.core.commands import commands_in, located
from perdure.core.durations import roughly, show
from perdure.core.execution.crash_loop import fitted
from perdure.core.execution.run_refusals import STAYS
from perdure.core.policies.classify import Assessment
from perdure.core.policies.verdicts import Stop
from perdure.core.records import CLEAN_UPS, AttemptRecord, RunRecord
from perdure.engines.features import Feature
from perdure.errors import PerdureError
from perdure.operations.location import Location
from perdure.operations.maps import maps_of
from perdure.operations.processes import INPUTS, NEXT, CallInFlight, Suspect, WaitingCall
from perdure.operations.run_views import view_of
from perdure.operations.step_views import error_view
from perdure.operations.stored_failures import assessment_of, restored
from perdure.operations.why_waiting import Way
from perdure.store.damaged_rows import Damage
from perdure.store.runs import Store

SHOWN = 5
"""Calls that are named."""


class Inquiry:
    """What is asked of one run.

    Args:
        store: the state file, or the records of a cluster.
        run: which.
        location: where it was found.
    """

    def __init__(self, store: Store, run: RunRecord, location: Location) -> None:
        self.store = store
        self.run = run
        self.location = location
        self.now = time.time()
        self.view = view_of(store, run)
        self.reasons: list[str] = []
        self.ways: list[Way] = []
        self.code: str | None = None
        self.stays = False  # going on alone would stop it again

    def as_it_says(self, stop: Stop) -> None:
        """What the error of ours that a run was left for says, below its first line, with the commands that help."""
        self.code = sure(assessment_of(self.run.path, stop.verdict, stop.error))
        error = restored(stop.error)
        self.stays = isinstance(error, PerdureError) and self.code in STAYS
        if not isinstance(error, PerdureError):
            return
        hide = secrets.redactor()
        _, _, rest = error.what.partition("\n")
        for line in rest.splitlines():
            self._say(hide(line.strip()))
        for line in error.hint.splitlines():
            self._say(hide(line.strip()) if line.startswith(" ") else hide(f"what to do: {line}"))
        for command in commands_in(hide(error.hint)):
            purpose = "accept the changes" if command.endswith("--accept-changes") else "have it made again"
            self.ways.append(Way(purpose, located(command, self.location.option)))

    def _open_calls(self, in_flight: list[CallInFlight], *, before: bool = False) -> list[AttemptRecord]:
        """The last failed attempt of each call that has no record and is not in flight, in the order of their ends.

        Args:
            in_flight: what is in flight.
            before: of the time until the run last failed, rather than of the time since.
        """
        epoch = self.run.epoch - before if self.location.supports(Feature.EARLIER_ATTEMPTS) else None
        recorded = {(name, key, n) for _, name, key, n, *_ in self.store.index(self.run.rid)}
        identities = {(one.step, one.key, one.n) for one in in_flight if one.run == self.run.id}
        found: dict[tuple[str, bytes, int], AttemptRecord] = {}
        for one in self.store.attempt_records(self.run.rid):
            identity = (one.name, one.key, one.n)
            open = identity not in recorded and (fitted(one.name), one.key.hex(), one.n) not in identities
            if open and epoch in (None, one.epoch):
                found[identity] = one
        return sorted(found.values(), key=lambda one: one.started + one.ms / 1000)

    def _attempted(self, one: AttemptRecord) -> str:
        return f"{one.name}{secrets.describe_inputs(one.input, INPUTS)}"

    def _call(self, one: CallInFlight) -> str:
        child = "" if one.run == self.run.id else f" of child run {one.run}"
        lasted = f", for {roughly(one.seconds)}" if one.seconds else ""
        return f"{one.step}{which(one)}{child}, attempt {one.attempt}{lasted}"

    def _saved(self) -> str:
        saved = self.view.steps - self.clean_ups.total()
        return f"{saved:,} step{'' if saved == 1 else 's'} saved" if saved > 0 else "no step is saved"

    def _runs_again(self) -> str:
        """Which of its steps are executed again when it is gone on with."""
        none = ", and none of them runs again" if self.view.steps > self.clean_ups.total() else ""
        return none + ("; what was undone is made again" if self.clean_ups["undone"] else "")

    @cached_property
    def clean_ups(self) -> Counter[str]:
        """How many records are of clean-ups, by kind: a run counts them among its steps."""
        kinds = (kind for *_, kind in self.store.index(self.run.rid))
        return Counter(kind for kind in kinds if kind in CLEAN_UPS)

    def _ago(self, moment: float | None) -> str:
        return "at an unknown time" if moment is None else f"{self._since(moment)} ago"

    def _since(self, moment: float) -> str:
        seconds = max(self.now - moment, 0.0)
        return roughly(seconds) if seconds < 60 else show(int(seconds))

    def _say(self, text: str) -> None:
        self.reasons.append(text)

    def _way(self, purpose: str, command: str) -> None:
        self.ways.append(Way(purpose, self._command(command)))

    def _command(self, command: str) -> str:
        return f"perdure {command} {shlex.quote(self.run.id)}{self.location.option}"

    # -- what holds calls back -----------------------------------------------------------------------------------------

    def _services(self, failure: str | None = None) -> bool:
        """What holds calls back, of the services of this state file; only the script says which of them it uses.

        Args:
            failure: a failure of the run: only services that it names, or that have seen the same one.

        Returns:
            Whether there is something.
        """
        from perdure.operations.breakers import list_breakers

        found: list[Way] = []
        for one in list_breakers(self.location):
            if failure is not None and one.error != failure and repr(one.name) not in failure:
                continue
            way = Way(
                f"close breaker {one.name}", f"perdure breaker reset {shlex.quote(one.name)}{self.location.option}"
            )
            if one.state in ("open", "half-open", "isolated"):
                until = f" until {_clock(one.until)}" if one.until is not None else ""
                in_row = f"{one.failures} failures in a row, the last " if one.failures > 1 else ""
                error = f", opened by {in_row}{one.error}" if one.error and one.state != "isolated" else ""
                self._say(f"breaker {one.name!r} is {one.state}{until}{error}: calls that it guards wait or fail")
                found += [Way("see breakers", f"perdure breaker ls{self.location.option}"), way]
            if one.paused_until is not None:
                self._say(f"{one.name!r} asked for a pause until {_clock(one.paused_until)}: calls of it wait")
                found.append(way)
        self.ways += [way for number, way in enumerate(found) if way not in found[:number]]
        return bool(found)

    def _held_calls(self, seen: Sequence[WaitingCall]) -> None:
        """Calls that wait for something else than their next attempt: a sentence for each that they wait for."""
        found: dict[tuple[str, str], list[WaitingCall]] = {}
        for one in seen:
            if one.reason != NEXT:
                found.setdefault((one.step, one.reason), []).append(one)
        for (step, reason), calls in list(found.items())[:SHOWN]:
            first = min(calls, key=lambda one: inf if one.seconds is None else one.seconds)
            if not step:
                self._say(f"the run itself waits for {reason}{time_left(first)}")
            elif len(calls) == 1:
                self._say(f"{step}{which(first)} waits for {reason}{time_left(first)}")
            else:
                soon = time_left(first) or " is let soon"
                self._say(f"{len(calls):,} calls of {step} wait for {_theirs(reason)}; the first{soon}")

    def _not_begun(self, begun: Sequence[CallInFlight | WaitingCall]) -> None:
        """Items of maps that have not begun, since only so many are under way at a time."""
        under_way = Counter(one.step for one in begun if one.run == self.run.id)
        for one in maps_of(self.store, self.run, Damage()) if under_way else ():
            if one.ended is not None or one.total is None or one.concurrency is None:
                continue
            left = one.total - sum(one.counts.values()) - under_way[fitted(one.step)]
            if left > 0 and under_way[fitted(one.step)]:
                self._say(
                    f"{left:,} of {one.total:,} items of the map over {one.step} have not begun: "
                    f"{one.concurrency:,} at a time are under way (concurrency)"
                )

    def _locks(self) -> None:
        held = self.store.journal.read(self.store.locks.held)
        for one in held:
            if one.by is None or (one.by.pid == self.view.pid and one.by.host == self.view.host):
                continue
            who = f", for run {one.run.id}" if one.run is not None else ""
            self._say(
                f"lock {one.name!r} is held by pid {one.by.pid} on {one.by.host}{who}, for {self._since(one.since)}: "
                "what needs it waits"
            )


def _theirs(reason: str) -> str:
    """What a call waits for, said of several."""
    return f"their {reason.removeprefix('its ')}" if reason.startswith("its ") else reason


def which(one: CallInFlight | WaitingCall) -> str:
    """Which call of its step it is, as far as that is known."""
    return one.inputs or (f"({one.label})" if one.label else "")


def time_left(one: WaitingCall) -> str:
    """Until when it waits."""
    return "" if one.seconds is None else f", for {show(round(one.seconds, 1))} yet, until {_clock(one.until)}"


def code_of(stop: Stop) -> str | None:
    """The code of the error of ours that a run was left for."""
    error = restored(stop.error) if stop.error else None
    return error.code if isinstance(error, PerdureError) else None


def sure(seen: Assessment) -> str | None:
    """The entry, unless it is only possible."""
    return seen.code if seen.confidence != "possible" else None


def line_of(packed: bytes) -> str:
    """A stored error, in a line."""
    error = error_view(packed)
    first = error.message.partition("\n")[0]
    return f"{error.type}: {first}" if first else error.type


def _clock(moment: datetime | None) -> str:
    return "some time" if moment is None else moment.astimezone().strftime("%H:%M:%S")


def suspicion(one: Suspect) -> str:
    """What speaks against a call that was in flight at crashes."""
    call = f"{one.step}{one.inputs}"
    if one.given_up:
        return (
            f"{call} was in flight at {one.crashes} crashes in a row, so it is not tried again: in a map its "
            "item becomes a dead letter, else the run fails with a crash loop"
        )
    times = "at this crash" if one.crashes == 1 else f"at {one.crashes} crashes in a row"
    until = f"{one.limit} times"
    if one.crashes >= one.limit:
        until = "more often, since the process executed other runs too"
    return f"{call} was in flight {times}; it is tried again until that has happened {until}"
