"""Where a cluster is, and how it is to be used: `temporal://host:7233/namespace?dead_after=10s`."""

from __future__ import annotations

import difflib
from urllib.parse import parse_qsl, urlsplit

import msgspec

from perdure.core.durations import seconds
from perdure.errors import OptionError

SCHEME = "temporal://"
EXAMPLE = "give temporal://HOST:7233/NAMESPACE, for instance temporal://localhost:7233/default"
DEAD_AFTER = 10.0
EVENTS = 8_000
OPTIONS = ("dead_after", "events")


class Address(msgspec.Struct, frozen=True):
    """A namespace of a cluster.

    `dead_after` is how many seconds a worker may be silent before its work is given to another, and how long the code
    between two steps may compute. `events` is the length of Temporal's record of a run at which it begins a new one
    (Temporal ends a run whose record reaches 51,200 events).
    """

    target: str
    namespace: str = "default"
    dead_after: float = DEAD_AFTER
    events: int = EVENTS

    @classmethod
    def of(cls, url: str) -> Address:
        """The address that a URL stands for.

        Raises:
            OptionError: it stands for none.
        """
        parts = urlsplit(url)
        try:
            port = parts.port or 7233
        except ValueError:
            raise OptionError(f"the engine {url!r} names no port", EXAMPLE) from None
        namespace = parts.path.strip("/") or "default"
        if not url.startswith(SCHEME) or not parts.hostname or "/" in namespace:
            raise OptionError(f"the engine {url!r} names no cluster", EXAMPLE)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in options:
            if name not in OPTIONS:
                close = difflib.get_close_matches(name, OPTIONS, n=1)
                meant = f"did you mean {close[0]!r}? Otherwise " if close else ""
                raise OptionError(
                    f"the engine {url!r} has an unknown option {name!r}",
                    f"{meant}give one of its options: {', '.join(OPTIONS)}",
                )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        dead_after = seconds(options.get("dead_after", DEAD_AFTER), option="dead_after")
        events = options.get("events", str(EVENTS))
        if dead_after < 1:
            raise OptionError(f"dead_after is {options['dead_after']!r}", "give at least 1s")
        if not events.isdecimal() or not 20 <= int(events) <= 40_000:
            raise OptionError(f"events is {events!r}", "give a whole number from 20 to 40000")
        return cls(f"{host}:{port}", namespace, dead_after, int(events))
