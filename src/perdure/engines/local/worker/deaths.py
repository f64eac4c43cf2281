"""Sees that a process has died that was executing runs."""

from __future__ import annotations

from pathlib import Path

from perdure.store import claims
from perdure.store.liveness import seems_alive
from perdure.store.runs import Store

AGAIN = 60.0
"""Seconds until a death is reported once more whose runs nobody has taken over."""


class Deaths:
    """Remembers which processes execute something, and looks whether they live.

    Args:
        state: the state file.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._tokens: set[str] = set()
        self._reported: dict[str, float] = {}

    def refresh(self, store: Store) -> None:
        """The state file has changed: other processes may execute something.

        Raises:
            StateError: it cannot be read.
        """
        self._tokens = {each.token for each in claims.executed(store)}
        self._reported = {token: at for token, at in self._reported.items() if token in self._tokens}

    def look(self, now: float) -> bool:
        """Has a process died since the last look, or long ago without anybody taking over its runs?

        Args:
            now: seconds on a clock that only ever grows.
        """
        found = False
        for token in self._tokens:
            if now - self._reported.get(token, -AGAIN) >= AGAIN and not seems_alive(self._state, token):
                self._reported[token] = now
                found = True
        return found
