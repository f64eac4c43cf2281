"""Which exceptions that are no `Exception` are a step's own: an exit, which the workflow may handle."""

from __future__ import annotations

_FROM_OUTSIDE = (GeneratorExit, BaseExceptionGroup)
_CANCELLED = frozenset({"Cancelled", "CancelledError", "GreenletExit"})
"""What asyncio, trio and gevent stop a task with."""


def is_exit(cls: type[BaseException]) -> bool:
    """Is it `SystemExit`, Ctrl-C, or a class of the user's below BaseException?

    What else breaks a step off from outside is none: the end of a generator, a task that is cancelled, and what stops
    the run.
    """
    if issubclass(cls, (Exception, *_FROM_OUTSIDE)) or cls.__module__.startswith("perdure."):
        return False
    return _CANCELLED.isdisjoint(each.__name__ for each in cls.__mro__)


def is_interrupt(error: BaseException) -> bool:
    """Does it come from outside, whatever the program does then: Ctrl-C, or an exit that a signal's handler raises?"""
    if isinstance(error, KeyboardInterrupt):
        return True
    if not is_exit(type(error)):
        return False
    import signal

    handlers = {_code(handler) for number in signal.valid_signals() if callable(handler := signal.getsignal(number))}
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code in handlers:
            return True
        at = at.tb_next
    return False


def _code(handler: object) -> object:
    """Of the Python function that a handler is, or is made of; None if there is none."""
    handler = getattr(handler, "func", handler)
    return getattr(getattr(handler, "__func__", handler), "__code__", None)
