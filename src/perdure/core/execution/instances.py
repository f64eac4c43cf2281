"""What stands for an instance in the inputs of calls: its value, its class, or what it goes by."""

from __future__ import annotations

from typing import Any, TypeVar

from perdure.core.values import codec
from perdure.core.values.extensions import GoesBy, StandIn
from perdure.errors import NotStorable

S = TypeVar("S", bound=StandIn)

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
        return standing(type(value).__qualname__, _packed_key(value))
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


def not_distinguished(value: Any, owner: str) -> NotStorable:
    """The refusal of a step that is made in a function, and bound to an instance that nothing distinguishes."""
    name = type(value).__name__
    return NotStorable(
        f"{owner} is made in a function, and bound to a {name}, which can neither be stored nor says what it goes by, "
        f"so that its calls are not distinguished from those of another {name}",
        f"make the step and the {name} at the top level of the module, where there is one of each; or give the step a "
        f"key= that says whose calls they are; or {name} a method that says what it goes by: "
        f"`def {IDENTITY}(self): return self.name`",
    )


def mark_of(value: Any) -> GoesBy | None:
    """What tells a value apart from others; None for one that can neither be stored nor says what it goes by."""
    if isinstance(value, type):
        return GoesBy(f"<{value.__module__}.{value.__qualname__}>")
    if hasattr(type(value), IDENTITY):
        return standing(type(value).__qualname__, _packed_key(value), GoesBy)
    try:
        return standing("", codec.pack_inputs([value], {}, owner=""), GoesBy)
    except NotStorable:
        return None


def own_key(value: Any) -> Any:
    """What an instance says that it goes by."""
    return getattr(type(value), IDENTITY)(value)


def standing(name: str, packed: bytes, kind: type[S] = StandIn) -> S:  # type: ignore[assignment]
    """What stands for an instance.

    Args:
        name: of its class, or nothing.
        packed: what it goes by. It is kept beside its digest if there are classes in it, which may gain fields.
        kind: what it is to be.
    """
    return kind(name, _text(packed), packed if codec.holds_classes(packed) else b"")


def _packed_key(value: Any) -> bytes:
    key, owner = own_key(value), f"{IDENTITY} of {type(value).__qualname__}"
    try:
        return codec.pack_inputs([key], {}, owner=owner)
    except NotStorable:
        codec.pack_value(key, owner=owner)  # it refuses it too, in words about what a function returns
        raise


def _text(packed: bytes) -> str:
    """What is shown may be cut; the digest is not."""
    return f"{codec.describe_inputs(packed, limit=60)} {codec.digest(packed).hex()}"
