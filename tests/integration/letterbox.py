"""Sends signals through a connection of its own, at a moment of choice, and looks into the mailbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from perdure.core.callables import EMPTY
from perdure.core.values import codec
from perdure.store.runs import Store
from perdure.store.signals import send


def post(state: Path, run: str, event: str, value: Any = None, *, key: str = "", stamp: float) -> None:
    """Send a signal to the run at that moment, as a process of its own would."""
    store = Store(state)
    data = codec.plan(EMPTY, owner="signal").pack(value)
    store.journal.write((), send(store, run, event, key, data, clock=lambda: stamp))
    store.close()


def letters(state: Path) -> list[tuple[str, str, Any]]:
    """Event, status and value of all signals, in the order in which they were sent."""
    connection = apsw.Connection(str(state))
    rows = connection.execute("SELECT event, status, value FROM signal ORDER BY sid").fetchall()
    connection.close()
    plain = codec.plan(EMPTY, owner="signal")
    return [(event, status, plain.unpack(value)) for event, status, value in rows]


def open_waits(state: Path) -> list[tuple[str, str | None]]:
    """Name and event of every row of an open wait."""
    connection = apsw.Connection(str(state))
    rows = connection.execute("SELECT name, event FROM wait ORDER BY began, name, position").fetchall()
    connection.close()
    return rows
