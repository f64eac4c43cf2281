"""What this process knows to be secret: credentials in its environment, and the values of its `Secret`s.

`core.redact` knows how credentials look; here is what they are. Whatever stores, shows or sends a text that may quote
another's asks `conceal`.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from perdure.core.exceptions import capture
from perdure.core.patterns import later
from perdure.core.redaction import secret
from perdure.core.redaction.secret import Secret
from perdure.core.values import codec

if TYPE_CHECKING:
    from perdure.core.redaction.text import Redactor

__all__ = ["Secret", "conceal", "describe", "describe_inputs", "known", "redactor", "to_builtins"]

_BEYOND = 2_000
"""Characters that are looked through behind what is shown, so that no credential is cut in two and not known again."""

_LOGIN = later(r"://[^\s/?#:@]*:([^\s@]+)@|://([^\s/?#:@]{12,})@|[?&](?:password|token|key|sig|secret)=([^&\s]+)")


def conceal(text: str) -> str:
    """`text` without credentials: without what looks like one, and without what this process knows to be one.

    Of more than 100,000 characters the middle is left out.
    """
    if not text:
        return text
    from perdure.core.redaction.text import bounded

    return redactor()(bounded(text))


def describe(data: bytes, limit: int = 200) -> str:
    """As `codec.describe`, without credentials."""
    return _cut(conceal(codec.describe(data, limit + _BEYOND)), limit)


def describe_inputs(data: bytes, limit: int = 200) -> str:
    """As `codec.describe_inputs`, without credentials."""
    return _cut(conceal(codec.describe_inputs(data, limit + _BEYOND)), limit)


def to_builtins(data: bytes) -> Any:
    """As `codec.to_builtins`, without credentials."""
    from perdure.core.redaction.nested import redact_nested

    return redact_nested(codec.to_builtins(data), redactor())


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 3, 0)] + "..."[:limit]


def known() -> frozenset[str]:
    """The values that are secret in this process, as they are at this moment."""
    found: set[str] = set(secret.living())
    for name, value in os.environ.items():
        if value:
            found.update(_secrets_in(name, value))
    return frozenset(found)


@lru_cache(4096)
def _secrets_in(name: str, value: str) -> tuple[str, ...]:
    from perdure.core.redaction.names import is_secret, is_secret_variable

    if name == "PERDURE_ENCRYPTION_KEYS":  # of each key its id is no secret
        return tuple(entry.partition(":")[2] or entry for entry in re.split(r"[\s,]+", value) if entry)
    if name == "PERDURE_SIGNAL_KEY":
        return tuple(value.split())
    if "://" in value:
        # Of an address only the credentials are secret; the host helps to find a fault.
        if not (is_secret_variable(name) or name.upper().endswith(("_URL", "_URI", "_DSN", "_ALERTS"))):
            return ()
        parts = tuple(part for login in _LOGIN.findall(value) for part in login if part)
        return parts or ((value,) if is_secret_variable(name) else ())
    if not is_secret_variable(name) or value.startswith(("/", "~/", "./")):
        return ()  # the path of a key is none
    # `SORT_KEY=created_at` says no secret; only the name's end spoke for it.
    plain = value.isascii() and value.lower() == value and not any(map(str.isdigit, value)) and len(value) < 20
    return () if plain and not is_secret(name) else (value,)


_made: tuple[frozenset[str], Redactor] | None = None
_looked: tuple[Any, list[str], Redactor] | None = None  # the environment and what was secret when it was made last


def redactor() -> Redactor:
    """What takes the secrets out of texts, as they are at this moment; for many texts at once."""
    global _made, _looked
    environment, living = getattr(os.environ, "_data", None), secret.living()
    looked = _looked
    if looked is not None and environment is not None and looked[0] == environment and looked[1] == living:
        return looked[2]
    now = known()
    made = _made
    if made is None or made[0] != now:
        from perdure.core.redaction.text import Redactor

        made = _made = (now, Redactor(now))
    _looked = (None if environment is None else dict(environment), living, made[1])
    return made[1]


capture.hide_with(redactor)
