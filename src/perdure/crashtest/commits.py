"""The commits of a database, seen by the statements that sqlite3 is about to execute."""

from __future__ import annotations

from collections.abc import Callable

_CHANGES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CREATE", "DROP", "ALTER")
"""What a statement that changes a database begins with."""


class Commits:
    """Told of the statements of a connection before they are executed (its trace callback); tells of its commits.

    Args:
        told: is called before changes are committed: by COMMIT, or by a statement outside of a transaction.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._within = False

    def __call__(self, statement: str) -> None:
        """A statement is about to be executed."""
        word = (statement.split(None, 1) or [""])[0].upper().rstrip(";")
        if word in ("BEGIN", "SAVEPOINT"):
            self._within = True
        elif word == "ROLLBACK" and " TO " not in statement.upper():
            self._within = False
        elif word in ("COMMIT", "END") or (not self._within and word in _CHANGES):
            self._within = False
            self._told()
