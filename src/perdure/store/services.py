"""What the processes of one state file know together about the services that they call.

Soft state: it survives a restart and a SIGKILL, but nothing of a run depends on it. So no commit waits for the disk,
and a damaged file is set aside and begun anew.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import apsw
import msgspec

from perdure.config.os_errors import refused, remove
from perdure.config.ownership import make_file, make_folder
from perdure.core.checksums import row_checksum
from perdure.core.policies.breaker import BreakerState
from perdure.core.policies.rate import PauseState, RateState
from perdure.store.connection import open_connection, refuse_foreign_schema, run_script
from perdure.store.damage import DAMAGE, is_damaged
from perdure.store.sqlite_errors import translated
from perdure.store.statements import load

Kind = Literal["breaker", "rate", "pause"]
Cell = BreakerState | RateState | PauseState
S = TypeVar("S", BreakerState, RateState, PauseState)
T = TypeVar("T")

APPLICATION_ID = 0x50455253  # "PERS"
VERSION = 2
"""Of the file. In version 0 a state had no checksum before it; before version 2 no opening was kept."""
KEPT = 50
"""Openings of a breaker that are kept."""
_DAMAGE = (*DAMAGE, apsw.SQLError, UnicodeDecodeError)
_CHECKSUM = 4
"""Bytes before each state: a CRC-32 over whose it is and what it says."""

_STATES: dict[str, type[Any]] = {"breaker": BreakerState, "rate": RateState, "pause": PauseState}
_decoders = {kind: msgspec.msgpack.Decoder(state) for kind, state in _STATES.items()}
_encode = msgspec.msgpack.Encoder().encode
_log = logging.getLogger("perdure")


class Opening(msgspec.Struct, frozen=True):
    """From when to when (seconds since the epoch; None: it is not over) a breaker let no call through, and why."""

    name: str
    began: float
    ended: float | None
    how: Literal["open", "isolated"]
    error: str


class Services:
    """The cells of one state file, as one process uses them. Opened when first used.

    Args:
        state: the state file; the cells lie beside it, in `<state>-services`.
        now: the time of day, in seconds since the epoch.
    """

    def __init__(self, state: Path, now: Callable[[], float]) -> None:
        self.path = state.with_name(state.name + "-services")
        self._now = now
        self._sql = load("services.sql")
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def about(self, name: str) -> dict[str, Cell]:
        """What is known under a name, by kind.

        Raises:
            StateError: the file cannot be used.
        """
        found: Any = self._using(lambda it: it.execute(self._sql["about"], (name,)).fetchall())
        return {kind: self._decoded(kind, name, state) for kind, state in found if self._is_known(kind, name)}

    def all(self) -> list[tuple[str, str, Cell]]:
        """Kind, name and state of every cell; nothing if there is no file.

        Raises:
            StateError: the file cannot be used.
        """
        with translated(self.path):
            if not self.path.exists():
                return []
        rows: Any = self._using(lambda it: it.execute(self._sql["all"]).fetchall())
        known = [row for row in rows if self._is_known(*row[:2])]
        return [(kind, name, self._decoded(kind, name, state)) for kind, name, state in known]

    def openings(self, since: float, until: float) -> list[Opening]:
        """The openings of breakers in a time, or that reach into it, the earliest first; at most 50 of each.

        Raises:
            StateError: the file cannot be used.
        """
        with translated(self.path):
            if not self.path.exists():
                return []
        rows: Any = self._using(lambda it: it.execute(self._sql["openings"], (since, until)).fetchall())
        return [Opening(*row) for row in rows]

    def update(self, kind: Kind, name: str, function: Callable[[Any, float], tuple[Any, T]]) -> T:
        """Change a cell while no one else can: in no process is another function at it.

        Args:
            kind: what it is.
            name: whose it is.
            function: given the state and the time, returns the state that shall be (the very same: nothing is written)
                and an answer, which is returned.

        Raises:
            StateError: the file cannot be used.
        """

        def change(connection: apsw.Connection) -> T:
            try:
                connection.execute("BEGIN IMMEDIATE")
                row: Any = connection.execute(self._sql["get"], (name, kind)).fetchone()
                before = _STATES[kind]() if row is None else self._decoded(kind, name, *row)
                after, answer = function(
                    before, self._now()
                )  # not asked before the lock was had: that may take a while
                if after is not before:
                    connection.execute(
                        self._sql["put"], (kind, name, _sealed(kind, name, _encode(after)), after.changed)
                    )
                    if isinstance(after, BreakerState) and (before.mode == "closed") != (after.mode == "closed"):
                        self._keep(connection, name, after)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return answer

        return self._using(change)

    def _keep(self, connection: apsw.Connection, name: str, after: BreakerState) -> None:
        """A breaker has opened, or has closed again."""
        connection.execute(self._sql["closed"], (name, after.changed))
        if after.mode == "closed":
            return
        how = "isolated" if after.mode == "isolated" else "open"
        connection.execute(self._sql["opened"], (name, after.changed, how, after.error if how == "open" else ""))
        connection.execute(self._sql["forget_openings"], (name, KEPT))

    def close(self) -> None:
        """Close the file; it is opened again when it is used again."""
        with self._lock:
            self._close()

    # -- the file -----------------------------------------------------------------------------------------------------

    def _using(self, question: Callable[[apsw.Connection], T]) -> T:
        with self._lock, translated(self.path):
            try:
                return question(self._opened())
            except _DAMAGE as error:
                if isinstance(error, DAMAGE) and not is_damaged(error, self.path):
                    raise  # a read was in trouble: nothing is wrong with the file
                self._set_aside(error)
                return question(self._opened())

    def _opened(self) -> apsw.Connection:
        """The connection, to the file that has the name now: it may have been set aside, or deleted."""
        connection = self._connection
        if connection is not None:
            if self._identity == self._on_disk():
                return connection
            self._close()
        for _ in range(3):
            if self._on_disk() is None:
                self._create()
            identity = self._on_disk()
            self._identity = identity  # said first: a file that cannot be opened is set aside by it
            self._connection = connection = open_connection(self.path, "NORMAL")
            if connection.pragma("application_id") != APPLICATION_ID:
                raise apsw.NotADBError("it is not a file of perdure's services")
            refuse_foreign_schema(connection)
            if connection.pragma("user_version") != VERSION:
                self._bring_up_to_date(connection)
            if identity == self._on_disk():
                return connection
            self._close()
        raise apsw.CantOpenError("the file is exchanged all the time")

    def _bring_up_to_date(self, connection: apsw.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            version: Any = connection.pragma("user_version")  # another process may have been faster
            if version < 2:
                connection.execute(self._sql["table_of_openings"])
            if version == 0:
                rows: Any = connection.execute(self._sql["raw"]).fetchall()
                for kind, name, state, changed in rows:
                    connection.execute(self._sql["put"], (kind, name, _sealed(kind, name, state), changed))
            if version < VERSION:
                connection.pragma("user_version", VERSION)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close()
            self._connection = None

    def _set_aside(self, error: Exception) -> None:
        """Nothing in it is worth stopping a run for."""
        mine, self._identity = self._identity, None
        self._close()
        if mine is None or mine != self._on_disk():
            return  # another process was faster
        aside = self.path.with_name(f"{self.path.name}.damaged-{os.urandom(4).hex()}")
        with suppress(FileNotFoundError):
            os.rename(self.path, aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
        _log.warning(
            "the file of breakers and rate limits is damaged (%s): it was set aside as %s, and all begin closed",
            error,
            aside,
        )

    def _create(self) -> None:
        """Make the file complete under another name, then link it: it is there as a whole or not at all."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            make_folder(self.path.parent)
            os.close(make_file(draft, os.O_EXCL | os.O_WRONLY))
            try:
                connection = open_connection(draft, "OFF")
                try:
                    run_script(connection, "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL")
                    run_script(
                        connection,
                        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
                        + f"{self._sql['schema']};{self._sql['table_of_openings']}",
                    )
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    connection.close()
                with suppress(FileExistsError):  # another process was first
                    os.link(draft, self.path)
            finally:
                for suffix in ("", "-wal", "-shm"):
                    remove(Path(f"{draft}{suffix}"))
        except OSError as error:
            raise refused(
                f"the file of breakers and rate limits cannot be made: {self.path} ({error.strerror})",
                self.path,
                "check the permissions of the folder, or set PERDURE_STATE to another path",
            ) from error

    def _decoded(self, kind: str, name: str, state: bytes) -> Any:
        try:
            payload = state[_CHECKSUM:]
            if _sealed(kind, name, payload) != state:
                raise ValueError("it does not match its checksum")
            return _decoders[kind].decode(payload)
        except ValueError as error:  # msgspec's errors are ones, too
            _log.warning("the saved state of %s %r is damaged (%s): it begins anew", kind, name, error)
            return _STATES[kind]()

    def _is_known(self, kind: str, name: str) -> bool:
        if kind in _STATES:
            return True
        _log.warning("the file of breakers and rate limits holds a %r of %r, which perdure never writes", kind, name)
        return False


def _sealed(kind: str, name: str, state: bytes) -> bytes:
    return row_checksum(kind, name, state).to_bytes(_CHECKSUM, "big") + state
