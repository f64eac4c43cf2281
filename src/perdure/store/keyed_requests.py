"""Requests that are carried out once by the key that their sender gives them: who carries one out, and the answer.

The row is there before anything is done. One without an answer is being carried out, or was when its process died.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from perdure.store.group_commit import Operation
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.statements import load

_SQL = load("keyed_requests.sql")

KEPT: Final = 7 * 86_400.0
"""Seconds for which a request is known by its key."""


class KeyedRequest(NamedTuple):
    """A request. `key` and `asked` are digests, of what its sender calls it and of what is asked for; `at` is in
    seconds since the epoch, `token` what the process goes by that carries it out. Of the answer: status, media type
    and body; None: there is none yet.
    """

    key: bytes
    asked: bytes
    at: float
    token: str
    status: int | None = None
    media: str | None = None
    body: bytes | None = None


def claim(request: KeyedRequest, path: Path) -> Operation:
    """An operation that writes a request down which is about to be carried out; gives the one of that key that was
    there before, or None.

    Args:
        request: it, without an answer.
        path: the state file.

    Raises:
        StateCorrupt: what is there is not as it was written.
    """

    def operation(connection: apsw.Connection) -> KeyedRequest | None:
        connection.execute(_SQL["forget_before"], (request.at - KEPT,))
        row: Any = connection.execute(_SQL["get"], (request.key,)).fetchone()
        if row is None:
            connection.execute(_SQL["put"], sealed(*request))
            return None
        if not sound(row):
            raise corrupt(path)
        return KeyedRequest(*row[:-1])

    return operation


def answered(request: KeyedRequest) -> Operation:
    """An operation that keeps the answer to a request."""

    def operation(connection: apsw.Connection) -> None:
        connection.execute(_SQL["put"], sealed(*request))

    return operation


def forget(key: bytes) -> Operation:
    """An operation that gives a request back that was not carried out."""

    def operation(connection: apsw.Connection) -> None:
        connection.execute(_SQL["forget"], (key,))

    return operation
