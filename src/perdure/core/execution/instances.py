"""What stands for an instance in the inputs of calls: its value, its class, or what it goes by."""

from __future__ import annotations

from typing import Any

from perdure.core.values import codec
from perdure.core.values.extensions import StandIn
from perdure.errors import NotStorable

IDENTITY = "__perdure_key__"
"""The method by which an instance says what it goes by in the inputs of its steps."""


def receiver(value: Any, owner: str) -> Any:
    """What stands for `self` or `cls` in a method's inputs: the class, what the instance goes by, or its value.

    Raises:
        NotStorable: the instance can neither be stored nor says what it goes by.
    """
    if isinstance(value, type):
        return StandIn(value)
    if hasattr(type(value), IDENTITY):
        return StandIn(type(value), _text(_own_key(value)))
    try:
        codec.pack_inputs([value], {}, owner=owner)
    except NotStorable as refusal:
        name = type(value).__qualname__
        raise NotStorable(
            f"{owner} is a method, and its instance cannot be stored, so that its calls are not distinguished from "
            f"those of another {name}: {refusal.what}",
            f"give {name} a method that says what it goes by: `def {IDENTITY}(self): return self.name`; or make it a "
            "dataclass of that; or give the step a key=, which takes the instance too",
        ) from None
    return value


def text_of(value: Any) -> str | None:
    """A text that tells a value apart from others; None for one that can neither be stored nor says what it goes by."""
    if isinstance(value, type):
        return f"<{value.__module__}.{value.__qualname__}>"
    if hasattr(type(value), IDENTITY):
        return f"{type(value).__qualname__}{_text(_own_key(value))}"
    try:
        return _text(codec.pack_inputs([value], {}, owner=""))
    except NotStorable:
        return None


def _own_key(value: Any) -> bytes:
    say = getattr(type(value), IDENTITY)
    return codec.pack_inputs([say(value)], {}, owner=f"{IDENTITY} of {type(value).__qualname__}")


def _text(packed: bytes) -> str:
    """What is shown may be cut; the digest is not."""
    return f"{codec.describe_inputs(packed, limit=60)} {codec.digest(packed).hex()}"
