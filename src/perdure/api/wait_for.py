"""`perdure.wait_for`, and its twin in `perdure.aio`: a workflow waits for a signal."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, Union, overload

import msgspec

from perdure.api.durable_wait import awaited, blocking, event_name, inside, wait_key
from perdure.core.callables import EMPTY
from perdure.core.durations import Duration, seconds, show
from perdure.core.values import codec
from perdure.errors import NotDecodable, WaitTimeout

if TYPE_CHECKING:
    from perdure.core.waits import Lapsed, Letter, RunEnd
    from perdure.core.waits import Won as Winner

T = TypeVar("T")


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
        timeout: (seconds, timedelta or text such as "2d") how long to wait; None: without a bound. A signal that was
            stored in time counts, however late the run is woken.
        default: what is returned when the time is over, instead of raising WaitTimeout.

    Raises:
        WaitTimeout: nothing came in time, and there is no `default`. If that ends the run, running it again waits anew.
        OptionError: the name, key or timeout is not valid.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        UsageError: called outside a workflow, in a step, or in a function that an event loop executes.
    """
    scope = inside("wait_for")
    return blocking(scope, "wait_for", _WaitFor(event, type, key, timeout, default), key)


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
    """Wait for a signal, in async code; takes and raises what `perdure.wait_for` does."""
    return awaited(inside("aio.wait_for"), _WaitFor(event, type, key, timeout, default), key)


class _WaitFor:
    """A wait for one event. `name` is that of its record."""

    def __init__(self, event: object, type: Any, key: object, timeout: Any, default: Any) -> None:
        from perdure.core.waits import Wanted

        self.event, topic = event_name(event), wait_key(key)
        self.name = f"perdure.wait:{self.event}"
        limit = None if timeout is None else seconds(timeout, option="timeout")
        self.wanted = (Wanted(self.event, topic, length=limit),)
        self.since: tuple[float, float] | None = None
        self.what = f"{self.event!r}" + (f" with key {topic!r}" if topic else "")
        self.given: list[Any] = [topic, limit]
        self._type = type
        self._default = default
        annotation, owner = annotation_of(type), f"wait_for({self.event!r})"
        self._sent = self.plan = plan_of(annotation, owner)
        if default is not ... and annotation is not EMPTY and not _fits(annotation, default):
            self.plan = codec.plan(Union[annotation, default.__class__], owner=owner)  # noqa: UP007  made of values
        self._late = None if default is ... else self.plan.pack(default)

    def result(self, won: Winner, found: Letter | RunEnd | None) -> bytes:
        data = payload(found, self._type, self._sent)
        if self.plan is self._sent:
            return data
        packed: bytes = self.plan.pack(self._sent.unpack(data))  # a signal is never what the default alone may be
        return packed

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        if self._late is not None:
            return self._late
        limit = self.wanted[0].length or 0.0
        return WaitTimeout(
            f"signal {self.what} did not come within {show(limit)}",
            "give default=, catch WaitTimeout, or run again: that waits once more, and finds a signal that came late",
        )


def annotation_of(type: Any) -> Any:
    """What is declared of the value of a signal."""
    return EMPTY if type in (object, Any) else type


def plan_of(annotation: Any, owner: str) -> codec.Plan:
    """How what is sent is read. That of a class is kept, since reading annotations takes a third of a wait."""
    plain = getattr(type(annotation), "__hash__", None) is type.__hash__  # two classes are never equal then
    return _plan_of_class(annotation, owner) if plain else codec.plan(annotation, owner=owner)


@lru_cache(100)
def _plan_of_class(declared: Any, owner: str) -> codec.Plan:
    return codec.plan(declared, owner=owner)


def _fits(annotation: Any, value: Any) -> bool:
    try:
        codec.plan(annotation, owner="default").pack(value)
    except Exception:  # noqa: BLE001  whatever the class of the user's raises
        return False
    return True


def payload(found: Any, type: Any, plan: Any) -> bytes:
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
