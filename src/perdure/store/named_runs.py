"""Which runs are named by those that are unfinished: by what these were given, were sent, or have in their records.

A workflow that has enqueued a run, or was given the id of one, may ask for its result at any later time, and does so
again whenever it is gone on with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw

from perdure.core.values.texts import texts_in
from perdure.store import pieces
from perdure.store.statements import load

_SQL = load("pruning.sql")

AT_ONCE = 500
"""Records that are read at a time."""

LONGEST = 1_000
"""Characters of a text that may be an id."""

_WAITED_FOR = "run "
"""How a wait for the first of several calls one of them that is a run."""


class NamedRuns:
    """The numbers of the runs that unfinished runs name, as far as was looked.

    Args:
        path: the state file.

    Attributes:
        rids: the numbers.
    """

    def __init__(self, path: Path) -> None:
        self.rids: set[int] = set()
        self._path = path
        self._seen: dict[int, int] = {}  # by unfinished run: the number of its last record that was looked through
        self._version: int | None = None

    def look(self, connection: apsw.Connection) -> None:
        """Look through what was not there before."""
        unfinished: list[Any] = connection.execute(_SQL["unfinished"]).fetchall()
        for (rid,) in unfinished:
            given: list[Any] = connection.execute(_SQL["given_to"], (rid,)).fetchall()
            self._note(connection, (payload for (payload,) in given))
            self._note(connection, self._behind(connection, rid))

    def look_again(self, connection: apsw.Connection) -> None:
        """The same, in a transaction that writes: if another process has written since that was done last."""
        version: Any = connection.pragma("data_version")
        if version != self._version:
            self.look(connection)
            self._version = version

    def _behind(self, connection: apsw.Connection, rid: int) -> Iterator[bytes]:
        while True:
            behind = (rid, self._seen.get(rid, -1), AT_ONCE)
            rows: list[Any] = connection.execute(_SQL["records_behind"], behind).fetchall()
            for seq, given, output in rows:
                yield from (given, output)
                self._seen[rid] = seq
            if not rows:
                return

    def _note(self, connection: apsw.Connection, payloads: Iterable[Any]) -> None:
        for payload in payloads:
            whole = pieces.joined(connection, payload, self._path) if type(payload) is bytes else None
            for text in () if whole is None else texts_in(whole):
                if len(text) <= LONGEST:
                    self._note_id(connection, text.removeprefix(_WAITED_FOR).rstrip())
                    self._note_id(connection, text)

    def _note_id(self, connection: apsw.Connection, id: str) -> None:
        row: Any = connection.execute(_SQL["of_id"], (id,)).fetchone()
        if row is not None:
            self.rids.add(row[0])
