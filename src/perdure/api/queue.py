"""Queues: how many of the runs that are enqueued execute at a time, and how fast they begin."""

from __future__ import annotations

import sys

from perdure.api.options import checked_name, refuse_reserved
from perdure.core import durations
from perdure.errors import OptionError


class Queue:
    """A queue of runs, with limits that hold for all workers of a state file together.

    Runs get into it by `workflow.with_options(queue="mail").enqueue(...)`, or by `@workflow(queue="mail")`, and workers
    execute them. The limits are kept in the state file: the last declaration counts, and a change of it is logged. A
    name that is not declared stands for a queue without limits.

    Args:
        name: a printable text.
        concurrency: runs at a time, from 1; None: as many as the workers have slots.
        per_key: runs of one key at a time (`with_options(key=...)`), from 1; None: no limit.
        rate: how fast runs begin: "10/s", "100/min", "5/2s", "1000/h" or "1000/d"; None: no limit.

    Raises:
        OptionError: an option is not valid.
    """

    name: str

    def __init__(
        self, name: str, *, concurrency: int | None = None, per_key: int | None = None, rate: str | None = None
    ) -> None:
        from perdure.engines.declared_queues import Declared, queues

        self.name = checked_queue(name)
        count, seconds = (None, None) if rate is None else durations.rate(rate, option="rate")
        file = sys._getframe(1).f_code.co_filename
        self._declared = Declared(
            name, _count("concurrency", concurrency), _count("per_key", per_key), count, seconds, file
        )
        queues[name] = self._declared

    def __repr__(self) -> str:
        return f"<queue {self.name!r}>"


def checked_queue(queue: object) -> str:
    """The name of a queue, checked.

    Raises:
        OptionError: it is no printable text, or one of perdure's own.
    """
    name = checked_name(queue.name if isinstance(queue, Queue) else queue, "queue")
    refuse_reserved("queue", name)
    return name


def _count(option: str, value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise OptionError(f"{option} is {value!r}", "give a whole number from 1, or None for no limit")
    return value
