"""What a record says of its call besides its inputs and its end; most calls have nothing of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

LONGEST = 120
"""Characters of a label."""


class Extras(msgspec.Struct):
    """What is to be recorded of a call.

    Attributes:
        batch: the number of the map that it is an item of.
        label: what tells it from others for people: the key that it goes by.
        at: when it was made, by the clock of `Outcome.began`; None until that is known.
        asked: how many seconds after that its last attempt began.
        waits: seconds that it waited meanwhile, by reason: "retry", "rate", "paused" or "breaker"; None: not at all.
    """

    batch: int | None = None
    label: str | None = None
    at: float | None = None
    asked: float = 0.0
    waits: dict[str, float] | None = None

    def began(self, at: float) -> None:
        """An attempt of it has begun."""
        if self.at is None:
            self.at = at - sum(self.waits.values()) if self.waits else at
        self.asked = at - self.at

    def wait(self, reason: str, seconds: float) -> None:
        """It has waited."""
        waits = self.waits = self.waits or {}
        waits[reason] = waits.get(reason, 0.0) + seconds

    def columns(self) -> tuple[int | None, int | None, str | None, str | None]:
        """Its columns of the row."""
        asked, said = int(self.asked * 1000), None
        if self.waits:
            waits = {reason: ms for reason, seconds in self.waits.items() if (ms := int(seconds * 1000)) > 0}
            said = msgspec.json.encode(waits).decode() if waits else None
        return self.batch, asked if asked > 0 else None, said, self.label


NOTHING: Final = (None,) * 4
"""The columns of a call of which nothing more is to be said."""


def label_of(key: Any) -> str | None:
    """A key as a label; None if it says nothing in a line."""
    if isinstance(key, str):
        text = key
    elif isinstance(key, int | float):
        text = repr(key)
    elif isinstance(key, tuple | list) and key and all(isinstance(each, str | int | float) for each in key):
        text = ", ".join(map(str, key))
    else:
        return None
    text = " ".join(text.split())
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...") or None
