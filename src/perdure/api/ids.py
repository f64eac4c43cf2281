"""Ids that are the same whenever they are made from the same parts."""

from __future__ import annotations

import hashlib
from typing import Any, Final
from uuid import UUID

from perdure.core.values import codec
from perdure.errors import UsageError

NAMESPACE: Final = UUID("d80f6b1b-8b94-4674-b939-2d1f014cb04e")
"""Drawn at random once; never changed, since every id would be another."""


def deterministic_id(*parts: Any) -> UUID:
    """An id made from these parts: the same parts give the same id, in every process, on every machine, for ever.

    For a record that you write: `deterministic_id("order", order.id)`. Writing it again is then writing the same one.
    Parts are told apart by type and place: ("ab", "c"), ("a", "bc"), 1, "1", 1.0 and True give different ids. Equal
    dicts and sets give the same one, whatever their order. An instance of a dataclass or the like counts with the name
    of its class and the names of its fields: give the fields that matter instead, if those may change.

    It is a UUID of version 5 (RFC 9562, section 5.5) in the namespace `perdure.ids.NAMESPACE`. The name is the parts as
    one msgpack array, so that programs in other languages can make the same ids of None, bool, int, float, str, bytes,
    and lists of them.

    It is no secret: whoever knows the parts, or can guess them, knows the id.

    Args:
        parts: values that could be stored, at least one.

    Raises:
        NotStorable: a part is not data.
        UsageError: there are no parts, so all calls would give one id.
    """
    if not parts:
        raise UsageError(
            "perdure.deterministic_id() was called without parts: all such ids would be the same",
            'give what identifies the thing, such as deterministic_id("order", order.id)',
        )
    name = codec.pack_inputs(list(parts), {}, owner="perdure.deterministic_id")
    digest = hashlib.sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)
