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
