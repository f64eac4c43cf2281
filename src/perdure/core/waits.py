"""What a run waits for, and how a wait has ended: judged by the stamps in the state file, not by who woke first.

A wait has one or several alternatives. Each is an event that is sent as a signal, the end of another run, or only a
time. What decides is when each has come about; so the same wait has the same end after any crash or downtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from shlex import quote

import msgspec

from perdure.core import commands
from perdure.core.durations import show
from perdure.core.redaction.printable import one_line

SLACK = 0.1
"""Seconds. A clock that lags behind by more was set back."""

APPROVAL = "perdure.approval"
"""The name of the signals that answer approvals. Their keys are the titles, each with a number of its own."""

SHOWN = 3
"""Things waited for that a line names."""


class Wanted(msgspec.Struct, frozen=True):
    """One alternative of a wait.

    Attributes:
        event: the name of a signal, and `topic` the key that it was sent with.
        run: the id of a run whose end is awaited.
        length: seconds, counted from when the wait began, after which it is over; of an event, after which it is not
            waited for any more.
        at: the same as a moment, in seconds since the epoch.

    Without event and run it is a timer.
    """

    event: str | None = None
    topic: str = ""
    run: str | None = None
    length: float | None = None
    at: float | None = None

    def due(self, began: float) -> float | None:
        """When its time is over, in seconds since the epoch, given when the wait began; None: never."""
        if self.at is not None:
            return self.at
        return None if self.length is None else began + self.length


class Letter(msgspec.Struct, frozen=True):
    """A signal that nobody has taken yet: its number, when it was stored, and what it carries."""

    sid: int
    stamp: float
    value: bytes


class RunEnd(msgspec.Struct, frozen=True):
    """How a run has ended, when, and with what."""

    status: str
    stamp: float
    output: bytes | None


class View(msgspec.Struct, frozen=True):
    """What the state file says of a wait, at one moment.

    Attributes:
        now: that moment, in seconds since the epoch.
        began: of each alternative, when it began to be waited for.
        found: of each alternative, the first signal that would do, or the end of the run; None if there is none.
        open: the wait stands in the file.
    """

    now: float
    began: tuple[float, ...]
    found: tuple[Letter | RunEnd | None, ...]
    open: bool


class Won(msgspec.Struct, frozen=True):
    """An alternative has come about, at that moment."""

    position: int
    at: float


class Lapsed(msgspec.Struct, frozen=True):
    """None will: the time of the last one was over at that moment."""

    at: float


class Open(msgspec.Struct, frozen=True):
    """It is not decided. It is to be looked at again at that moment at the latest; None: when something happens."""

    until: float | None


Verdict = Won | Lapsed | Open


def verdict(wanted: Sequence[Wanted], view: View) -> Verdict:
    """How a wait has ended: by what came about first, and of what came about at the same moment, by the first named.

    A signal that was stored in time wins, however late that is looked at; one that came too late stays for a next wait.
    """
    best: Won | None = None
    last: float | None = None  # when the last time was over, if all are
    until: float | None = None
    hopeless = bool(wanted)
    for position, (one, began, found) in enumerate(zip(wanted, view.began, view.found, strict=True)):
        due = one.due(began)
        moment: float | None = None
        if one.event is None and one.run is None:
            assert due is not None
            moment = due if view.now >= due else None
        elif found is not None and (due is None or found.stamp <= due):
            moment = found.stamp
        if moment is not None and (best is None or moment < best.at):
            best = Won(position, moment)
        if due is None or due > view.now:
            hopeless = False
            until = due if until is None or (due is not None and due < until) else until
        else:
            last = due if last is None else max(last, due)
    if best is not None:
        return best
    return Lapsed(last) if hopeless and last is not None else Open(until)


def same_end(one: Verdict, other: Verdict) -> bool:
    """Is a wait still decided as it was? When its time was over follows from the look, if it was not open."""
    return type(one) is type(other) and getattr(one, "position", None) == getattr(other, "position", None)


class Standing(msgspec.Struct, frozen=True):
    """A row of an open wait, as it is shown: the name of its record, and one alternative; `run` is an id."""

    name: str
    event: str | None
    topic: str | None
    run: str | None
    began: float
    due: float | None


def earliest(moments: Sequence[float | None]) -> float | None:
    """The earliest of those that are known."""
    return min((one for one in moments if one is not None), default=None)


def describe(waits: Sequence[Standing], now: float, zone: tzinfo | None = None) -> str:
    """What a run waits for and until when, in a few words: "it sleeps until 2026-11-29 14:00 CET (in 2 h)"."""
    sought = list(dict.fromkeys(named(one) for one in waits if one.event is not None or one.run is not None))
    due = earliest([one.due for one in waits])
    until = "" if due is None else show_moment(due, now, zone)
    if not sought:
        return f"it sleeps until {until}" if until else "it waits"
    more = f" and {len(sought) - SHOWN} more" if len(sought) > SHOWN else ""
    what = one_line(", ".join(sought[:SHOWN])) + more
    return f"it waits for {what}" + (f", until {until} at most" if until else "")


def brought_about(waits: Sequence[Standing], run: str) -> str:
    """What a person can do about it, with its commands: "answer it: perdure approve RUN, perdure reject RUN"; or ""."""
    asked = list(dict.fromkeys(one.topic for one in waits if one.event == APPROVAL))
    if asked:
        title = f" --title {quote(title_of(asked[0]))}" if len(asked) > 1 else ""
        return f"answer it: {commands.approve(run)}{title}, {commands.reject(run)}{title}"
    for one in waits:
        if one.event is not None and not one.event.startswith("perdure."):
            return f"send it: {commands.signal(run, one.event, one.topic or '')}"
    return ""


def named(one: Standing) -> str:
    """What a wait for a signal or another run waits for."""
    if one.run is not None:
        return f"the end of run {one.run}"
    if one.event == APPROVAL:
        return f"an approval: {title_of(one.topic)}"
    return f"{one.event} ({one.topic})" if one.topic else str(one.event)


def title_of(topic: str | None) -> str:
    """What an approval asks, by the key of its answer: "refund 7? #0123456789abcdef"."""
    return (topic or "").rpartition(" #")[0]


def show_moment(moment: float, now: float, zone: tzinfo | None = None, *, past: bool = False) -> str:
    """A moment as a person reads it, in the machine's zone unless another is given: "2026-11-29 14:00 CET (in 2 h)".

    One that has passed is "now", or, with `past`, so long ago.
    """
    local = datetime.fromtimestamp(moment, zone).astimezone(zone)
    left = moment - now
    how = f"in {show(round(left))}" if left >= 1 else f"{show(round(-left))} ago" if past and left <= -1 else "now"
    seconds = ":%S" if abs(left) < 3600 else ""
    return f"{local.strftime('%Y-%m-%d %H:%M' + seconds)} {local.tzname()} ({how})"
