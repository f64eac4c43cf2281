"""The queues that this process has declared, by `perdure.Queue(...)`: what their rows in a state file are to say."""

from __future__ import annotations

import msgspec


class Declared(msgspec.Struct, frozen=True):
    """A queue, as a script declares it; None: no limit.

    Attributes:
        name: its name.
        concurrency: runs at a time.
        per_key: runs of one key at a time.
        rate: runs that begin in so many `seconds`.
        seconds: the period of the rate.
        file: the script that says so.
    """

    name: str
    concurrency: int | None = None
    per_key: int | None = None
    rate: int | None = None
    seconds: float | None = None
    file: str = ""


queues: dict[str, Declared] = {}
"""By name; the last declaration counts."""
