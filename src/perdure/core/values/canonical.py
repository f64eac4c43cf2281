"""The canonical form of stored bytes: the order of dicts is kept in what is stored, and does not tell calls apart."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.core.values.extensions import COUNTER, DICT, LEAVES, encode

Ext = msgspec.msgpack.Ext


def canonical(data: bytes | memoryview) -> bytes:
    """The bytes with every dict in the order of its keys. Needs no classes: kinds are distinguished by their codes."""
    return encode(_sorted(_decode(data)))


_decode: Final = msgspec.msgpack.Decoder().decode


def _sorted(node: Any) -> Any:
    kind = type(node)
    if kind is list:
        return [_sorted(item) for item in node]
    if kind is dict:
        return {key: _sorted(node[key]) for key in sorted(node, key=encode)}
    if kind is Ext and node.code not in LEAVES:
        content = _sorted(_decode(node.data))
        if node.code in (DICT, COUNTER):
            pairs = sorted(zip(content[::2], content[1::2], strict=True), key=lambda pair: encode(pair[0]))
            content = [part for pair in pairs for part in pair]
        return Ext(node.code, encode(content))
    return node
