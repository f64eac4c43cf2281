"""What was sent to a run on a cluster: its signals, in the order in which they came.

The workflow and who reads its history make the same of the same signals, so a letter goes by its number: 1 is the
first that the run has ever got. An id that comes again is no letter.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from perdure.core.records import RESERVED
from perdure.core.values import codec
from perdure.core.waits import RunEnd
from perdure.engines.temporal.messages import Awaiting, ChildAnswer, ChildAsk, Message, RunEnded
from perdure.engines.temporal.payloads import Envelope, Identity, Letter, Owner, Published, decode
from perdure.errors import PerdureError

SIGNAL = "perdure"
"""The name of Temporal's signal that carries an envelope."""
OVERHEAD = 100
"""Bytes of a letter beside its value, about."""


class Mailbox:
    """The letters of a run. `size` is about how many bytes they take; `letters` are in the order of their numbers.

    `handed` are those that child runs have and have not taken yet. Besides letters it keeps what else comes by signals:
    what child runs ask, what a root answers, how other runs have ended, who waits for the end of this one, and what
    steps and child runs publish.
    """

    def __init__(self) -> None:
        self.handed: dict[Owner, int] = {}
        self.asks: list[ChildAsk] = []
        self.answers: dict[Identity, ChildAnswer] = {}
        self.ends: dict[str, RunEnd] = {}
        self.awaiting: dict[str, None] = {}
        self.published: list[Published] = []
        self.letters: list[Letter] = []
        self.size = 0
        self._carried = 0
        self._ids: set[str] = set()
        self._stored: dict[tuple[str, str], list[int]] = defaultdict(list)

    def take_over(
        self, letters: Iterable[Letter], handed: Iterable[tuple[Owner, int]] = (), awaiting: Iterable[str] = ()
    ) -> None:
        """These came to earlier executions of the run: they stand before what came to this one."""
        self.handed.update(handed)
        self.awaiting.update(dict.fromkeys(awaiting))
        before, after = [*self.letters[: self._carried], *letters], self.letters[self._carried :]
        self.letters, self.size, self._carried = [], 0, len(before)
        self._ids.clear()
        self._stored.clear()
        for one in (*before, *after):
            self._add(one)

    def receive(self, name: str, payloads: Sequence[Payload], now: float) -> Letter | None:
        """Temporal hands over a signal; None if it was sent before.

        Args:
            name: what Temporal knows it by.
            payloads: what it carries, in clear.
            now: when, in seconds since the epoch.
        """
        letter = _letter(name, payloads, now)
        return letter if self._add(letter) else None

    def put(self, message: Message) -> None:
        """Something has come that is no letter."""
        match message:
            case ChildAsk():
                self.asks.append(message)
            case ChildAnswer():
                self.answers[message.name, message.key, message.n] = message
            case Awaiting():
                self.awaiting[message.workflow_id] = None
            case Published():
                self.published.append(message)
            case RunEnded():
                self.ends[message.run] = RunEnd(message.status, message.stamp, message.output)

    def _add(self, letter: Letter) -> bool:
        if letter.id is not None:
            if letter.id in self._ids:
                return False
            self._ids.add(letter.id)
        self.letters.append(letter)
        self.size += len(letter.value) + OVERHEAD
        if letter.status == "stored":
            self._stored[letter.event, letter.topic].append(len(self.letters))
        return True

    def first(self, event: str, topic: str, due: float | None, skip: int) -> tuple[int, Letter] | None:
        """The first letter of that name and key that came in time, not counting so many; with its number."""
        limit = math.inf if due is None else due
        for number in self._stored.get((event, topic), ()):
            letter = self.letters[number - 1]
            if letter.stamp <= limit or letter.foreign:
                if not skip:
                    return number, letter
                skip -= 1
        return None

    def stored(self, event: str, topic: str) -> int:
        """How many letters of that name and key wait to be taken."""
        return len(self._stored.get((event, topic), ()))

    def take(self, number: int) -> None:
        """A wait has that letter."""
        letter = self.letters[number - 1]
        letter.status = "taken"
        _emptied(letter)
        self._stored[letter.event, letter.topic].remove(number)

    def hand_over(self, owner: Owner, number: int) -> None:
        """The wait of a child run is given that letter."""
        letter = self.letters[number - 1]
        letter.status = "taken"
        self._stored[letter.event, letter.topic].remove(number)
        self.handed[owner] = number

    def child_asked(self, ask: ChildAsk) -> bool:
        """A child run says something of one of its waits; does that wait last?"""
        number = self.handed.pop(ask.owner, None)
        if number is not None:
            letter = self.letters[number - 1]
            if ask.taken == number:
                _emptied(letter)
            elif ask.aside == number:
                letter.status, letter.reason = "aside", ask.reason
            else:
                letter.status = "stored"
                insort(self._stored[letter.event, letter.topic], number)
        return bool(ask.rows)

    def set_aside(self, number: int, reason: str) -> None:
        """That letter fits no wait."""
        letter = self.letters[number - 1]
        letter.status, letter.reason = "aside", reason
        self._stored[letter.event, letter.topic].remove(number)


def _emptied(letter: Letter) -> None:
    """Its value is needed no more; but of approvals and links, a second one is told what the first one said."""
    if not (letter.id or "").startswith(RESERVED):
        letter.value = b""


def _letter(name: str, payloads: Sequence[Payload], now: float) -> Letter:
    try:
        given: list[Any] = [DataConverter.default.payload_converter.from_payload(one) for one in payloads]
        if name == SIGNAL:
            told = decode(given[0], Envelope)
            # A clock that is ahead says nothing about whether it came in time.
            stamp = min(told.stamp, now)
            return Letter(told.id, told.event, told.topic, told.value, stamp, sender=told.sender)
        value = None if not given else given[0] if len(given) == 1 else given
        return Letter(None, name, "", codec.pack_value(value, owner=f"signal {name!r}"), now, foreign=True)
    except (PerdureError, msgspec.MsgspecError, RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = error.what if isinstance(error, PerdureError) else str(error)
        return Letter(None, name, "", b"", now, "aside", f"it cannot be read: {reason}", foreign=True)
