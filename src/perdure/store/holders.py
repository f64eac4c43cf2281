"""Which process holds which run.

A run names its holder, a process; the holder is alive exactly as long as its lock is taken.

A process whose lock file was removed while it ran (or whose file system does not keep locks) looks dead. The
process that takes a run or a lock from it declares it gone, and from then on a trigger of its own connection refuses
its steps: what it checks and what it writes is one transaction.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw

from perdure.core.execution.run_effects import HolderInfo
from perdure.core.records import RunRecord, is_time
from perdure.store.connection import run_script
from perdure.store.liveness import Liveness
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.statements import Statements, load


class Holder:
    """This process, as the holder of runs in one state file.

    Args:
        state: the state file; the locks lie beside it, in `<state>-locks/`.
        sql: the named statements.
        looks: nothing is taken from holders that are dead.
    """

    def __init__(self, state: Path, sql: Statements, *, looks: bool = False) -> None:
        self._state = state
        self._liveness = Liveness(state, looks=looks)
        self._sql = sql
        self._hid: int | None = None
        self._new = False  # introduced by the transaction under way
        self._there = False  # that has seen that nothing is taken from this process
        self._fencing = load("fencing.sql")

    @property
    def token(self) -> str:
        """What this process's lock goes by; empty as long as it has none."""
        return self._liveness.token

    @property
    def known(self) -> int | None:
        """This process's number in the file, if it has one."""
        return self._hid

    def hid(self, connection: apsw.Connection, now: float) -> int:
        """This process's number in the file; takes the lock the first time. Called inside a transaction."""
        if self._hid is None:
            token = self._liveness.show()
            found = connection.execute(self._sql["find_token"], (token,)).fetchone()
            (hid,) = found or next(connection.execute(self._sql["next_holder"]))
            row = sealed(hid, token, os.getpid(), os.uname().nodename, float(now), 0)
            connection.execute(self._sql["put_holder"], row)
            self._hid = hid
            self._new = True
            connection.execute(self._fencing["unfence"])
            # Triggers take no parameters.
            run_script(connection, self._fencing["fence"].replace(":hid", str(self._hid)))
        return self._hid

    def ended(self, committed: bool) -> None:
        """A transaction has ended. If it introduced this process and was rolled back, that is done again next time."""
        if self._new and not committed:
            self._hid = None
        self._new = self._there = False

    def sound(self, connection: apsw.Connection) -> bool:
        """Do others take this process for alive? Not if its lock file was removed, or something taken from it."""
        if self._hid is None or self._new:
            return True
        if connection.execute(self._fencing["is_gone"], (self._hid,)).fetchone() != (0,):
            return False
        return self._liveness.is_seen()

    def renew(self) -> None:
        """Begin anew under another number; nothing may be held."""
        self._liveness.forget()
        self._hid = None

    def bury(self, connection: apsw.Connection, hid: int) -> None:
        """Something is taken from a holder that was found dead: it is so for good, whatever it believes itself."""
        *who, gone, _ = self._row(connection, hid)
        if not gone:
            connection.execute(self._sql["put_holder"], sealed(*who, 1))

    def owns(self, connection: apsw.Connection, rid: int) -> bool:
        """Does this process still execute that run, as far as all others are concerned?"""
        return connection.execute(self._fencing["is_mine"], (rid, self._hid)).fetchone() is not None

    def has(self, connection: apsw.Connection, run: RunRecord) -> bool:
        """The same of a run that was read in this transaction; many of them end in one."""
        if not self._there and self._hid is not None:
            self._there = connection.execute(self._fencing["is_gone"], (self._hid,)).fetchone() == (0,)
        return self._there and run.holder == self._hid

    def redrives(self, connection: apsw.Connection, rid: int) -> bool:
        """Does this process have a dead letter of that run?"""
        return connection.execute(self._fencing["redrives"], (rid, self._hid)).fetchone() is not None

    def is_me(self, hid: int) -> bool:
        """Does this process go by that number?"""
        return self._hid == hid

    def living(self, connection: apsw.Connection, hid: int) -> HolderInfo | None:
        """Who the holder is, if it is alive.

        Raises:
            StateCorrupt: what the file says of it is not what was written.
        """
        _, *who, gone, _ = self._row(connection, hid)
        info = HolderInfo(*who)
        return info if not gone and self._liveness.lives(info.token) else None

    def known_as(self, connection: apsw.Connection, hid: int) -> HolderInfo:
        """Who the holder is, or was.

        Raises:
            StateCorrupt: as for `living`.
        """
        _, *who, _, _ = self._row(connection, hid)
        return HolderInfo(*who)

    def number_here(self, connection: apsw.Connection, hid: int) -> int | None:
        """The number of a holder's process, if that was one of this machine."""
        info = self.known_as(connection, hid)
        return info.pid if info.host == os.uname().nodename else None

    def _row(self, connection: apsw.Connection, hid: int) -> tuple[Any, ...]:
        """No row is ever removed: a holder that is missing is as bad as one that is not what was written."""
        row: Any = connection.execute(self._sql["get_holder"], (hid,)).fetchone()
        if row is None or not sound(row) or not is_time(row[4]):
            raise corrupt(self._state)
        return tuple(row)

    def nudges(self) -> int:
        """Changes when another process has nudged this one, to look into the file for what it is asked to do."""
        return self._liveness.nudges()

    def nudge(self, token: str) -> None:
        """Make another process look."""
        self._liveness.nudge(token)

    def close(self) -> None:
        """Let go of everything; the lock file goes too."""
        self._liveness.close()
        self._hid = None

    def close_in_child(self) -> None:
        """After a fork: what the parent holds is not the child's."""
        self._liveness.forget()
        self._hid = None
