"""The texts in stored bytes, without the classes that they are of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


def texts_in(data: bytes) -> Iterator[str]:
    """Every text in a packed value, however deep, also in what is packed inside of it; of damaged bytes none.

    Args:
        data: as it is stored, put together.
    """
    rest: list[Any] = [data]
    while rest:
        one = rest.pop()
        kind = type(one)
        if kind is str:
            yield one
        elif kind is bytes:
            try:
                rest.append(_decode(one))
            except (msgspec.DecodeError, RecursionError):
                continue
        elif kind is dict:
            rest += [*one, *one.values()]
        elif kind is list or kind is tuple:
            rest += one


def _parts(code: int, data: memoryview) -> Any:
    return bytes(data)


_decode = msgspec.msgpack.Decoder(ext_hook=_parts, strict=False).decode
