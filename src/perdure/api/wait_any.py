"""`perdure.wait_any`, what it is given (`event`, `timer`) and returns (`Won`), and its twin in `perdure.aio`."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from perdure.api.durable_wait import awaited, blocking, event_name, inside, moment_of, wait_key
from perdure.api.result_in_workflow import workflow_of
from perdure.api.run_outcome import value_of
from perdure.api.wait_for import annotation_of, payload, plan_of
from perdure.core.durations import Duration, seconds
from perdure.core.execution.wait_any_record import WAIT_ANY, Winner, pack, unpack
from perdure.core.execution.waiting import NOTHING
from perdure.errors import NotDecodable, OptionError

if TYPE_CHECKING:
    from perdure.core.waits import Lapsed, Letter, RunEnd, Wanted
    from perdure.core.waits import Won as Verdict
    from perdure.engines.interface import Scope

T = TypeVar("T")

Anything: type = object


class Wait(msgspec.Struct, frozen=True):
    """What `wait_any` can wait for: made by `event`, `timer`, or given as the handle of a run."""


class Event(Wait, Generic[T], frozen=True):
    """A signal of that name and key. Made by `perdure.event`."""

    name: str
    key: str
    type: Any


class Timer(Wait, frozen=True):
    """A time: so many seconds after the wait began, or a moment in seconds since the epoch. Made by `perdure.timer`."""

    length: float | None
    at: float | None


class Won(msgspec.Struct, frozen=True):
    """What has ended a `wait_any`.

    Attributes:
        wait: the argument that came first.
        value: what the signal carries, or the result of the run; None for a timer, and for a run that is not done.
        at: when it came about, in UTC.
        status: of a run, how it has ended: "done", "failed", "parked" or "cancelled". Else "done".
    """

    wait: Any
    value: Any
    at: datetime
    status: str = "done"


def event(name: str, *, type: type[T] = Anything, key: str = "") -> Event[T]:
    """A signal, for `wait_any`.

    Args:
        name: the name that it is sent under.
        type: what it carries; a signal that does not fit is set aside.
        key: the key that it is sent with.

    Raises:
        OptionError: the name or the key is not a printable text.
    """
    return Event(event_name(name), wait_key(key), type)


def timer(when: Duration | datetime) -> Timer:
    """A time, for `wait_any`.

    Args:
        when: how long after the wait began (seconds, timedelta or text such as "2h"), or an aware datetime.

    Raises:
        OptionError: it is neither.
    """
    if isinstance(when, datetime):
        return Timer(None, moment_of(when))
    return Timer(seconds(when, option="timer"), None)


def wait_any(*waits: Any) -> Won:
    """Wait for the first of several: signals, times, the ends of other runs.

    What came about first wins, by the stamps in the state file, whoever was woken first; at the same moment, what is
    named first. What did not win is not taken.

    Args:
        waits: `perdure.event(...)`, `perdure.timer(...)`, or handles of runs.

    Returns:
        Which of them (`.wait`), what it brought (`.value`) and when (`.at`).

    Raises:
        OptionError: an argument is something else, or there is none.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        UsageError: called outside a workflow, in a step, or in a function that an event loop executes.
    """
    scope = inside("wait_any")
    return blocking(scope, "wait_any", _WaitAny(scope, waits), "")  # type: ignore[no-any-return]


def await_any(*waits: Any) -> Awaitable[Won]:
    """Wait for the first of several, in async code; takes and raises what `perdure.wait_any` does."""
    scope = inside("aio.wait_any")
    return awaited(scope, _WaitAny(scope, waits), "")


class _WaitAny:
    """The first of several."""

    name = WAIT_ANY

    def __init__(self, scope: Scope, waits: tuple[Any, ...]) -> None:
        if not waits:
            raise OptionError("perdure.wait_any is given nothing to wait for", "give perdure.event(...) or a timer")
        self._scope = scope
        self._waits = waits
        self.wanted = tuple(map(_wanted, waits))
        self.since: tuple[float, float] | None = None
        self.plan: Any = self
        self.given: list[Any] = [_label(one) for one in self.wanted]
        self._plans = [plan_of(annotation_of(getattr(one, "type", object)), "wait_any()") for one in waits]

    def result(self, won: Verdict, found: Letter | RunEnd | None) -> bytes:
        one, status, value = self._waits[won.position], "done", NOTHING
        if isinstance(one, Event):
            value = payload(found, one.type, self._plans[won.position])
        elif found is not None:
            status = getattr(found, "status", "done")
            output = getattr(found, "output", None)
            value = output if status == "done" and output is not None else NOTHING
        return pack(Winner(_label(self.wanted[won.position]), won.position, won.at, status, value))

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        raise AssertionError("a wait for the first of several is never late")

    def unpack(self, data: bytes) -> Won:
        """What the record says: the argument is found again by what it waits for, wherever it stands now."""
        label, position, at, status, value = unpack(data)
        same = [n for n, one in enumerate(self.wanted) if _label(one) == label]
        if not same:
            raise NotDecodable(
                f"wait_any() had {label!r} before, which is not among what it waits for now", "let it wait for that too"
            )
        found = position if position in same else same[0]
        moment = datetime.fromtimestamp(at, UTC)
        return Won(self._waits[found], None if value == NOTHING else self._value(found, value), moment, status)

    def _value(self, position: int, data: bytes) -> Any:
        one = self._waits[position]
        if isinstance(one, Event):
            return self._plans[position].unpack(data)
        spec = workflow_of(self._scope, one.id, getattr(one, "_spec", None), getattr(one, "_of_types", None))
        if spec is not None:
            return spec.plan.unpack(data)
        try:
            return self._plans[position].unpack(data)
        except NotDecodable:  # of a class of its script, which is not loaded here
            return value_of(data, None)


def _wanted(one: Any) -> Wanted:
    from perdure.core.waits import Wanted

    if isinstance(one, Event):
        return Wanted(one.name, one.key)
    if isinstance(one, Timer):
        return Wanted(length=one.length, at=one.at)
    id = getattr(one, "id", None)
    if isinstance(id, str) and callable(getattr(one, "result", None)):
        return Wanted(run=id)
    raise OptionError(
        f"perdure.wait_any is given {one!r}", "give perdure.event(...), perdure.timer(...), or the handle of a run"
    )


def _label(one: Wanted) -> str:
    if one.run is not None:
        return f"run {one.run}"
    return "timer" if one.event is None else f"event {one.event} {one.topic}"
