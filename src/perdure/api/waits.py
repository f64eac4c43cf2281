"""Durable waits: `sleep`, `sleep_until`, `wait_for`, `wait_any`; their async twins are in `perdure.aio`.

In a workflow a wait is a record like a step's: a run that waits for long is only rows in its state file meanwhile.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union, overload

import msgspec

from perdure.core.durations import LONGEST, Duration, show
from perdure.core.durations import seconds as _seconds
from perdure.core.execution.inputs import EMPTY
from perdure.core.execution.spec import Spec
from perdure.core.values import codec
from perdure.engines.interface import Scope, StepContext, here
from perdure.errors import NotDecodable, OptionError, UsageError, WaitTimeout

if TYPE_CHECKING:
    from perdure.core.waits import Lapsed, Letter, RunEnd, Wanted
    from perdure.core.waits import Won as Winner

T = TypeVar("T")

_NONE = b"\xc0"
Anything: type = object


# -- what users name --------------------------------------------------------------------------------------------------


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
    return Event(_name(name), _topic(key), type)


def timer(when: Duration | datetime) -> Timer:
    """A time, for `wait_any`.

    Args:
        when: how long after the wait began (seconds, timedelta or text such as "2h"), or an aware datetime.

    Raises:
        OptionError: it is neither.
    """
    if isinstance(when, datetime):
        return Timer(None, _moment(when))
    return Timer(_seconds(when, option="timer"), None)


# -- in sync code -----------------------------------------------------------------------------------------------------


def sleep(duration: Duration, *, name: str = "") -> None:
    """Sleep. In a workflow it is durable: a run that sleeps for long ends its process, and goes on in another one.

    Outside a workflow it is an ordinary sleep.

    Args:
        duration: seconds, a timedelta, or text such as "30s", "2h" or "1d"; at most 100 years.
        name: tells this sleep from others of the workflow, so that others can be added before it while it lasts.

    Raises:
        OptionError: the duration is not one.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        UsageError: called in a step, or in a function that an event loop executes.
    """
    length = _seconds(duration, option="duration")
    scope = _scope("sleep", outside=True)
    if scope is None:
        time.sleep(length)
    else:
        _blocking(scope, "sleep", _Sleep(length=length), name)


def sleep_until(when: datetime, *, name: str = "") -> None:
    """Sleep until a moment; everything else is as with `sleep`.

    Args:
        when: an aware datetime; one that has passed is no wait.
        name: as for `sleep`.

    Raises:
        OptionError: it is no datetime, or a naive one.
        UsageError: as for `sleep`.
    """
    at = _moment(when)
    scope = _scope("sleep_until", outside=True)
    if scope is None:
        time.sleep(max(0.0, at - time.time()))
    else:
        _blocking(scope, "sleep_until", _Sleep(at=at), name)


@overload
def wait_for(event: str, *, key: str = "", timeout: Duration | None = None) -> Any: ...
@overload
def wait_for(event: str, *, type: type[T], key: str = "", timeout: Duration | None = None) -> T: ...
@overload
def wait_for(event: str, *, type: type[T], key: str = "", timeout: Duration | None = None, default: Any) -> Any: ...
@overload
def wait_for(event: str, *, key: str = "", timeout: Duration | None = None, default: Any) -> Any: ...
def wait_for(
    event: str, *, type: Any = object, key: str = "", timeout: Duration | None = None, default: Any = ...
) -> Any:
    """Wait for a signal, which `perdure.signal` or `perdure signal` sends to the run; returns what it carries.

    A signal that was sent before is taken at once. Signals of one name and key are taken in the order in which they
    were sent, each by one wait.

    Args:
        event: the name of the signal.
        type: what it carries: a class or annotation. A signal that does not fit is set aside with a warning, and the
            wait goes on.
        key: takes only signals that were sent with this key.
        timeout: how long to wait; None: without a bound. A signal that was stored in time counts, however late the run
            is woken.
        default: what is returned when the time is over, instead of raising WaitTimeout.

    Raises:
        WaitTimeout: nothing came in time, and there is no `default`. If that ends the run, running it again waits anew.
        OptionError: the name, key or timeout is not valid.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        UsageError: called outside a workflow, in a step, or in a function that an event loop executes.
    """
    scope = _inside("wait_for")
    return _blocking(scope, "wait_for", _WaitFor(event, type, key, timeout, default), key)


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
    return _blocking(_inside("wait_any"), "wait_any", _WaitAny(waits), "")  # type: ignore[no-any-return]


# -- in async code ----------------------------------------------------------------------------------------------------


def asleep(duration: Duration, *, name: str = "") -> Awaitable[None]:
    """Sleep, in async code: `perdure.sleep`, which see."""
    length = _seconds(duration, option="duration")
    scope = _scope("aio.sleep", outside=True)
    if scope is None:
        import asyncio

        return asyncio.sleep(length)
    return _awaited(scope, _Sleep(length=length), name)


def asleep_until(when: datetime, *, name: str = "") -> Awaitable[None]:
    """Sleep until a moment, in async code: `perdure.sleep_until`, which see."""
    at = _moment(when)
    scope = _scope("aio.sleep_until", outside=True)
    if scope is None:
        import asyncio

        return asyncio.sleep(max(0.0, at - time.time()))
    return _awaited(scope, _Sleep(at=at), name)


@overload
def await_for(event: str, *, key: str = "", timeout: Duration | None = None) -> Awaitable[Any]: ...
@overload
def await_for(event: str, *, type: type[T], key: str = "", timeout: Duration | None = None) -> Awaitable[T]: ...
@overload
def await_for(
    event: str, *, type: type[T], key: str = "", timeout: Duration | None = None, default: Any
) -> Awaitable[Any]: ...
@overload
def await_for(event: str, *, key: str = "", timeout: Duration | None = None, default: Any) -> Awaitable[Any]: ...
def await_for(
    event: str, *, type: Any = object, key: str = "", timeout: Duration | None = None, default: Any = ...
) -> Awaitable[Any]:
    """Wait for a signal, in async code: `perdure.wait_for`, which see."""
    return _awaited(_inside("aio.wait_for"), _WaitFor(event, type, key, timeout, default), key)


def await_any(*waits: Any) -> Awaitable[Won]:
    """Wait for the first of several, in async code: `perdure.wait_any`, which see."""
    return _awaited(_inside("aio.wait_any"), _WaitAny(waits), "")


# -- the kinds of waits -----------------------------------------------------------------------------------------------


class _Sleep:
    """See core/execution/waiting.py: Wait."""

    name = "perdure.sleep"
    plan: Any

    def __init__(self, *, length: float | None = None, at: float | None = None) -> None:
        from perdure.core.waits import Wanted

        self.wanted = (Wanted(length=length, at=at),)
        self.since: tuple[float, float] | None = None
        self.plan = codec.plan(EMPTY, owner=self.name)
        self.given: list[Any] = [length if at is None else datetime.fromtimestamp(at, UTC)]

    def result(self, won: Winner, found: Letter | RunEnd | None) -> bytes:
        return _NONE

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        raise AssertionError("a time is never late")


class _WaitFor:
    """A wait for one event. `name` is that of its record."""

    def __init__(self, event: object, type: Any, key: object, timeout: Any, default: Any) -> None:
        from perdure.core.waits import Wanted

        self.event, topic = _name(event), _topic(key)
        self.name = f"perdure.wait:{self.event}"
        limit = None if timeout is None else _seconds(timeout, option="timeout")
        self.wanted = (Wanted(self.event, topic, length=limit),)
        self.since: tuple[float, float] | None = None
        self.what = f"{self.event!r}" + (f" with key {topic!r}" if topic else "")
        self.given: list[Any] = [topic, limit]
        self._type = type
        self._default = default
        annotation = _annotation(type)
        if default is not ... and annotation is not EMPTY and not _fits(annotation, default):
            annotation = Union[annotation, default.__class__]  # noqa: UP007  made of values
        self.plan = codec.plan(annotation, owner=f"wait_for({self.event!r})")
        self._late = None if default is ... else self.plan.pack(default)

    def result(self, won: Winner, found: Letter | RunEnd | None) -> bytes:
        return _payload(found, self._type, self.plan)

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        if self._late is not None:
            return self._late
        limit = self.wanted[0].length or 0.0
        return WaitTimeout(
            f"signal {self.what} did not come within {show(limit)}",
            "give default=, catch WaitTimeout, or run again: that waits once more, and finds a signal that came late",
        )


class _WaitAny:
    """The first of several."""

    name = "perdure.wait_any"

    def __init__(self, waits: tuple[Any, ...]) -> None:
        if not waits:
            raise OptionError("perdure.wait_any is given nothing to wait for", "give perdure.event(...) or a timer")
        self._waits = waits
        self.wanted = tuple(map(_wanted, waits))
        self.since: tuple[float, float] | None = None
        self.plan: Any = self
        self.given: list[Any] = [_label(one) for one in self.wanted]
        self._plans = [codec.plan(_annotation(getattr(one, "type", object)), owner="wait_any()") for one in waits]

    def result(self, won: Winner, found: Letter | RunEnd | None) -> bytes:
        one, status, value = self._waits[won.position], "done", _NONE
        if isinstance(one, Event):
            value = _payload(found, one.type, self._plans[won.position])
        elif found is not None:
            status = getattr(found, "status", "done")
            output = getattr(found, "output", None)
            value = output if status == "done" and output is not None else _NONE
        return msgspec.msgpack.encode([_label(self.wanted[won.position]), won.position, won.at, status, value])

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        raise AssertionError("a wait for the first of several is never late")

    def unpack(self, data: bytes) -> Won:
        """What the record says: the argument is found again by what it waits for, wherever it stands now."""
        label, position, at, status, value = msgspec.msgpack.decode(data)
        same = [n for n, one in enumerate(self.wanted) if _label(one) == label]
        if not same:
            raise NotDecodable(
                f"wait_any() had {label!r} before, which is not among what it waits for now", "let it wait for that too"
            )
        found = position if position in same else same[0]
        moment = datetime.fromtimestamp(at, UTC)
        return Won(self._waits[found], self._plans[found].unpack(value) if value != _NONE else None, moment, status)


# -- inside -----------------------------------------------------------------------------------------------------------


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


def _annotation(type: Any) -> Any:
    return EMPTY if type in (object, Any) else type


def _fits(annotation: Any, value: Any) -> bool:
    try:
        codec.plan(annotation, owner="default").pack(value)
    except Exception:  # noqa: BLE001  whatever the class of the user's raises
        return False
    return True


def _payload(found: Any, type: Any, plan: Any) -> bytes:
    """What a signal carries, as the record keeps it.

    Raises:
        NotDecodable: it does not fit.
    """
    data: bytes = found.value
    try:
        return plan.pack(plan.unpack(data))  # type: ignore[no-any-return]
    except NotDecodable as misfit:
        plain = codec.plan(EMPTY, owner="signal").unpack(data)
        try:
            value = _made(plain, type)
            return plan.pack(value)  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001  what a validator of the user's raises
            raise misfit from None


def _made(plain: Any, type: Any) -> Any:
    """An instance of the class, made of plain data such as JSON has."""
    validate = getattr(type, "model_validate", None)
    return validate(plain) if validate is not None else msgspec.convert(plain, type)


def _scope(function: str, *, outside: bool = False) -> Any:
    """The workflow that waits; None outside of one, where that is allowed.

    Raises:
        UsageError: there is none, or a step is executing.
    """
    context = here.get()
    if isinstance(context, StepContext):
        raise UsageError(
            f"perdure.{function}() is called in step {context.call.spec.name!r}, which would hold up its process",
            "wait in the workflow, between its steps; a step that is to pause for a moment uses time.sleep",
        )
    if context is None and not outside:
        raise UsageError(
            f"perdure.{function}() is called outside a workflow", "call it in a function decorated with @workflow"
        )
    return context


def _inside(function: str) -> Scope:
    scope: Scope = _scope(function)
    return scope


def _blocking(scope: Any, function: str, wait: Any, name: str) -> Any:
    return block_in(scope, f"perdure.{function}()", f"await perdure.aio.{function}(...)", wait, name)


def block_in(scope: Any, function: str, instead: str, wait: Any, name: str) -> Any:
    """Wait in a workflow, blocking the thread.

    Args:
        scope: of the workflow.
        function: what was called, for messages.
        instead: what async code writes.
        wait: what is waited for: see core/execution/waiting.py.
        name: tells it from others of its kind.

    Raises:
        UsageError: an event loop executes the function.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        Exception: what the wait ends with.
    """
    if scope.is_async or scope.keeps_loop():
        raise UsageError(f"{function} would block the event loop that executes it", f"write: {instead}")
    return scope.wait(_spec(wait), _given(wait), _key(name), wait)


def await_in(scope: Any, wait: Any, name: str) -> Awaitable[Any]:
    """The same in async code, where it is awaited at once."""
    waiting: Awaitable[Any] = scope.await_wait(_spec(wait), _given(wait), _key(name), wait)
    return waiting


def _awaited(scope: Any, wait: Any, name: str) -> Awaitable[Any]:
    spec, given, key = _spec(wait), _given(wait), _key(name)
    waiting: Awaitable[Any] = scope.unawaited.watch(spec.owner, lambda: scope.await_wait(spec, given, key, wait), 2)
    return waiting


def _given(wait: Any) -> bytes:
    return codec.pack_inputs(wait.given, {}, owner=wait.name)


def _key(name: object) -> bytes:
    return codec.digest(_topic(name).encode())


def _spec(wait: Any) -> Spec:
    spec = copy.copy(_kind(wait.name))
    spec.plan = wait.plan
    return spec


@cache
def _kind(name: str) -> Spec:
    spec = Spec("wait", _nothing, name)
    spec.owner = name
    spec.record_kind = "builtin"
    return spec


def _nothing() -> None:
    """A wait calls no function."""


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise OptionError(f"the name of an event is {value!r}", "give a printable text that is not empty")
    if value.startswith("perdure."):
        raise OptionError(
            f"the name of an event is {value!r}; names that begin with 'perdure.' are perdure's own", "give another one"
        )
    return value


def _topic(value: object) -> str:
    if not isinstance(value, str) or not (value.isprintable() or not value):
        raise OptionError(f"the key of a wait is {value!r}", "give a printable text, or none")
    return value


def _moment(when: object) -> float:
    if not isinstance(when, datetime):
        raise OptionError(
            f"the moment is {when!r}", "give an aware datetime, such as datetime.now(UTC) + timedelta(...)"
        )
    if when.tzinfo is None or when.utcoffset() is None:
        raise OptionError(
            f"the moment is {when!r}, which has no time zone",
            "give an aware datetime: when.astimezone() takes it for the machine's own time",
        )
    moment = when.timestamp()
    if abs(moment - time.time()) > LONGEST:
        raise OptionError(f"the moment is {when!r}, more than a hundred years away", "give one that comes")
    return moment
