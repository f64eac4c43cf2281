"""What a run under test waits for is sent to it: signals, and the answers to its questions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from perdure.store.runs import Store


class Given(msgspec.Struct, frozen=True):
    """What there is to send.

    Attributes:
        signals: values by the names of signals; each wait for one of them gets its value, whatever its key.
        approval: how every question to a person is answered; None: not at all.
    """

    signals: dict[str, Any] = {}
    approval: bool | None = None


class Answers:
    """Sends each wait of a run what it waits for, once.

    Args:
        store: the state file.
        run: the id of the run.
        given: what there is to send.
        clock: the time of day.

    Attributes:
        missing: what was waited for, and nothing was given: names of signals, and what was asked.
    """

    def __init__(self, store: Store, run: str, given: Given, clock: Callable[[], float]) -> None:
        self._store, self._run, self._given, self._clock = store, run, given, clock
        self._lock = threading.Lock()
        self.missing: dict[str, None] = {}

    def give(self) -> bool:
        """Send what is waited for now and was not sent yet; says whether there was anything.

        Raises:
            StateError: the state file cannot be written.
        """
        from perdure.core.values import codec
        from perdure.core.waits import APPROVAL, title_of
        from perdure.store import approvals, signals, waits

        with self._lock:
            store, gave = self._store, False
            run = store.run(self._run)
            sent = {(letter.event, letter.topic) for letter in signals.not_taken(store, run.rid)}
            for wait in waits.standing_of(store, run.rid):
                event, topic = wait.event, wait.topic or ""
                if event is None or (event, topic) in sent:
                    continue
                if event == APPROVAL and self._given.approval is not None:
                    packed = approvals.pack_answer(self._given.approval, "crashtest", "")
                    operation = approvals.answering(store, run.id, topic, packed, clock=self._clock)
                elif event in self._given.signals:
                    packed = codec.pack_value(self._given.signals[event], owner=f"signal {event!r}")
                    operation = signals.send(store, run.id, event, topic, packed, clock=self._clock)
                else:
                    self.missing[f"approval {title_of(topic)!r}" if event == APPROVAL else f"signal {event!r}"] = None
                    continue
                store.journal.write((), operation)
                sent.add((event, topic))
                gave = True
            return gave
