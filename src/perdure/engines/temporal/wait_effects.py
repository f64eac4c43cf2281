"""What a durable wait asks of Temporal: each effect becomes a note in the run's history, a timer, or an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from perdure.core.execution.history import History
from perdure.core.execution.waiting import CloseWait, Look, OpenWait, Park, SetAside
from perdure.core.records import Row
from perdure.core.redaction.printable import one_line
from perdure.core.waits import View
from perdure.engines.temporal.lockstep_thread import LockstepThread, Ticket
from perdure.engines.temporal.open_waits import OpenWaits, carry_note
from perdure.engines.temporal.payloads import WaitNote
from perdure.engines.temporal.run_records import RunRecords

WAIT_EFFECTS = Look | OpenWait | Park | SetAside | CloseWait


class WaitingScope(Protocol):
    """What a wait needs of the run."""

    id: str
    history: History
    records: RunRecords
    thread: LockstepThread
    waits: OpenWaits

    def check(self) -> None:
        """Refuse to go on with a run that was stopped."""


class WaitEffects:
    """Carries out the effects of one run's waits.

    Args:
        scope: the run.
    """

    def __init__(self, scope: WaitingScope) -> None:
        self._scope = scope

    def begin(self, effect: Any) -> tuple[Ticket | None, Callable[[], Any]]:
        """One effect of a wait: what has to be done by Temporal for it, and what the answer is then."""
        waits, call, wait = self._scope.waits, effect.call, effect.wait
        waits.replaying = self._scope.history.replaying
        match effect:
            case Look():
                return None, lambda: waits.look(call, wait, self._scope.thread.now)
            case Park():
                self._scope.check()
                ticket = self._scope.thread.submit(lambda: waits.park(call, wait))
                ticket.idle = True
                return ticket, lambda: ticket.value
            case OpenWait():
                view = waits.look(call, wait, self._scope.thread.now)
                note = waits.open(call, wait, view)
                opened = View(view.now, view.began, view.found, open=True)
                return self._note(note, effect.rows), lambda: opened
            case SetAside():
                line = f"run {self._scope.id}: a signal is set aside, and {call.spec.owner} goes on: {effect.reason}"
                logging.getLogger("perdure").warning("%s", one_line(line))
                note = waits.set_aside(effect)
                return self._note(note), lambda: waits.look(call, wait, self._scope.thread.now)
            case CloseWait():
                closed = waits.close(effect, self._scope.thread.now)
                if isinstance(closed, View):
                    return None, lambda: closed
                return self._note(closed, effect.rows, lambda: self._closed(effect)), lambda: None
        raise TypeError(f"an effect that is not known here: {effect!r}")

    def _note(self, note: WaitNote, rows: Iterable[Row] = (), then: Callable[[], None] | None = None) -> Ticket:
        self._scope.check()
        self._scope.records.add(rows)
        size = 0 if note.closed is None else len(note.closed.input) + len(note.closed.output)
        ticket = self._scope.thread.submit(lambda: carry_note(note), size)
        ticket.noting, ticket.then = True, then
        return ticket

    def _closed(self, effect: CloseWait) -> None:
        self._scope.records.add((self._scope.history.number_again(effect.call, effect.row),))
