"""What the death of a process says of the runs that it executed: written down once, however many look at it.

Rows of the crash table (see `crashes`) speak against what was in flight; sessions and lives say what was cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import apsw

from perdure.core.exit_causes import STOPPED
from perdure.core.records import BETWEEN, NO_KEY
from perdure.store import flight_record, lives, sessions
from perdure.store.flight_record import Flight
from perdure.store.rows import sealed
from perdure.store.statements import load

if TYPE_CHECKING:
    from perdure.store.run_rows import RunRows

_SQL = load("crashes.sql")

ASKED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
"""The end of the process was asked for."""


def is_asked(cause: str) -> bool:
    """Does an end of this cause speak against nothing that was in flight?"""
    return cause in ASKED or cause.startswith(STOPPED)


def taken_from(store: RunRows, connection: apsw.Connection, hid: int) -> None:
    """A run is taken from a holder that was found dead; before it is, in the transaction."""
    store.holder.bury(connection, hid)
    token = store.holder.known_as(connection, hid).token
    if (flight := flight_record.read(flight_record.record_of(store.path, token))) is not None:
        count(connection, [flight])


def count(connection: apsw.Connection, flights: Sequence[Flight]) -> None:
    """Write down what was in flight when these processes died, for the runs that are still theirs; any number of times.

    Inside a transaction: in the one that takes a run from a dead process at the latest, or that death is lost.
    """
    sessions.died(connection, flights)
    for one in flights:
        # Which speaks against no step, but its calls are executed in another life as well.
        asked = is_asked(one.cause)
        runs = [] if asked else connection.execute(_SQL["runs_of"], (one.token,)).fetchall()
        for rid, progress, started in runs:
            times = (float(cast(float, started)), float(one.seen))
            death = (rid, BETWEEN, NO_KEY, progress, one.token, len(runs) - 1, *times, one.cause)
            connection.execute(_SQL["add"], sealed(*death))
        for call in one.calls:
            found = connection.execute(_SQL["run_of"], (call.run, one.token)).fetchone()
            if found is None:
                continue
            cut = lives.Cut(call.name, call.key, call.n, call.attempt, call.started)
            lives.add(connection, found[0], one.token, [cut], one.seen, one.cause)
            if not asked:
                times = (float(call.started), float(one.seen))
                row = (found[0], call.name, call.key, call.n, one.token, call.attempt, *times, one.cause)
                connection.execute(_SQL["add"], sealed(*row))
