"""Puts signals into a state file as `perdure.signal` does, through a connection of its own, at a moment of choice."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import apsw

from perdure.core.values import codec
from perdure.store.rows import sealed


def post(state: Path, run: str, event: str, value: Any = None, *, key: str = "", stamp: float) -> None:
    """Store a signal for the run, and make it ready if it is suspended."""
    connection = apsw.Connection(str(state))
    connection.set_busy_timeout(30_000)
    data = codec.plan(inspect.Parameter.empty, owner="signal").pack(value)
    with connection:
        (rid,) = next(connection.execute("SELECT rid FROM run WHERE id = ?", (run,)))
        (sid,) = next(connection.execute("SELECT coalesce(max(sid), 0) + 1 FROM signal"))
        row = sealed(sid, rid, event, key, None, data, float(stamp), "stored", None, None)
        connection.execute(f"INSERT INTO signal VALUES ({', '.join('?' * len(row))})", row)
    connection.close()


def letters(state: Path) -> list[tuple[str, str, Any]]:
    """Event, status and value of all signals, in the order in which they were sent."""
    connection = apsw.Connection(str(state))
    rows = connection.execute("SELECT event, status, value FROM signal ORDER BY sid").fetchall()
    connection.close()
    plain = codec.plan(inspect.Parameter.empty, owner="signal")
    return [(event, status, plain.unpack(value)) for event, status, value in rows]


def open_waits(state: Path) -> list[tuple[str, str | None]]:
    """Name and event of every row of an open wait."""
    connection = apsw.Connection(str(state))
    rows = connection.execute("SELECT name, event FROM wait ORDER BY began, name, position").fetchall()
    connection.close()
    return rows
