"""The token that all of the API needs, and the codes that a browser exchanges for it, each once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

CODE_SECONDS: Final = 60.0
"""How long a code is valid."""

FAILURES: Final = 10
"""Wrong tokens and codes in a minute; further ones are answered 429. The right token is always admitted."""

SHORTEST: Final = 32
"""Characters of a token that is set from outside."""


class Session:
    """Who may use one server.

    Args:
        token: what admits; None makes one of 256 random bits.
        clock: seconds that only go forward.
    """

    def __init__(self, token: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.token: Final = token if token is not None else secrets.token_urlsafe(32)
        self._clock = clock
        self._lock = threading.Lock()
        self._codes: dict[bytes, float] = {}
        self._failed: deque[float] = deque(maxlen=FAILURES)

    def new_code(self) -> str:
        """A code that is good for the token, once, for a minute."""
        code = secrets.token_urlsafe(18)
        with self._lock:
            now = self._clock()
            self._codes = {digest: until for digest, until in self._codes.items() if until > now}
            self._codes[_digest(code)] = now + CODE_SECONDS
        return code

    def exchange(self, code: str) -> str | None:
        """The token, for a code that is valid; None otherwise. No code is good for it twice."""
        with self._lock:
            until = self._codes.pop(_digest(code), 0.0)  # looked up by its digest: how long it takes says nothing
            if until > self._clock():
                return self.token
        self._note_failure()
        return None

    def admits(self, header: str) -> bool:
        """Is that the right `Authorization`? A wrong one counts as a failure, none does not."""
        scheme, _, given = header.partition(" ")
        if not header:
            return False
        if scheme.lower() == "bearer" and hmac.compare_digest(_digest(given.strip()), _digest(self.token)):
            return True
        self._note_failure()
        return False

    @property
    def is_limited(self) -> bool:
        """Were there too many failures in the last minute?"""
        with self._lock:
            return len(self._failed) == FAILURES and self._clock() - self._failed[0] < 60.0

    def _note_failure(self) -> None:
        with self._lock:
            self._failed.append(self._clock())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
