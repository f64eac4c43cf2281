"""Ids that are the same whenever they are made from the same parts."""

from __future__ import annotations

import hashlib
from typing import Any, Final
from uuid import UUID

from perdure.core.values import codec
from perdure.errors import UsageError

NAMESPACE: Final = UUID("d80f6b1b-8b94-4674-b939-2d1f014cb04e")
"""Chosen at random once. It never changes: every id would change with it."""


def deterministic_id(*parts: Any) -> UUID:
    """The id that these parts stand for: the same parts give the same id, in every process and on every machine.

    Use it as the primary key of what a step writes, `deterministic_id("order", order.id)`: a repeated write then hits
    the same row. Type and place of a part count: ("ab", "c"), ("a", "bc"), 1, "1", 1.0 and True give different ids.
    Equal dicts and sets give equal ids, whatever their order. Of a dataclass instance the class name and the field
    names count too; pass the fields that matter if those names may change.

    The result is a UUID of version 5 (RFC 9562, section 5.5) in the namespace
    d80f6b1b-8b94-4674-b939-2d1f014cb04e. Its name is the parts as one msgpack array, so programs in other languages can
    make the same ids from None, bool, int, float, str, bytes, and lists of them.

    The id is not secret: it can be computed from the parts.

    Args:
        parts: at least one value of a type that perdure can store.

    Raises:
        NotStorable: a part cannot be stored without loss.
        UsageError: there are no parts, so that all calls would give the same id.
    """
    if not parts:
        raise UsageError(
            "perdure.deterministic_id() is called without parts, so all ids are the same",
            'give what identifies the thing, such as deterministic_id("order", order.id)',
        )
    name = codec.pack_inputs(list(parts), {}, owner="perdure.deterministic_id")
    digest = hashlib.sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)
