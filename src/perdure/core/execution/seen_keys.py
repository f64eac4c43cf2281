"""Which keys of calls were seen, of very many."""

from __future__ import annotations

KEY = 16
"""Bytes of a key."""

ONE_BY_ONE = 2_000
"""Keys of one name that are remembered whole."""

_REST = 7
_END = 2 + _REST


class ManyKeys:
    """Which of very many keys were seen, by nine bytes of each: two say in which bucket the other seven stand.

    Keys are digests: that two of a million agree in 70 bits happens once in 10^9 runs. 9 bytes a key, where a
    dictionary takes 110.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: list[bytes | None] = [None] * 16_384

    def __contains__(self, key: bytes) -> bool:
        bucket = self._buckets[(key[0] << 8 | key[1]) & 0x3FFF]
        return bucket is not None and _stands_in(bucket, key[2:_END])

    def add(self, key: bytes) -> bool:
        """Was it seen before? It is from now on."""
        place = (key[0] << 8 | key[1]) & 0x3FFF
        rest = key[2:_END]
        bucket = self._buckets[place]
        if bucket is None:
            self._buckets[place] = rest
            return False
        at = bucket.find(rest)
        if at >= 0 and (at % _REST == 0 or _stands_in(bucket, rest)):
            return True
        self._buckets[place] = bucket + rest  # which is no slower than a bytearray, and leaves nothing free
        return False

    def add_all(self, keys: bytes) -> None:
        """See keys that stand one behind the other, none of which was seen before."""
        buckets = self._buckets
        for first, second, at in zip(keys[::KEY], keys[1::KEY], range(2, len(keys), KEY), strict=True):
            place = (first << 8 | second) & 0x3FFF
            buckets[place] = (buckets[place] or b"") + keys[at : at + _REST]


def _stands_in(bucket: bytes, rest: bytes) -> bool:
    at = bucket.find(rest)
    while at > 0 and at % _REST:
        at = bucket.find(rest, at + 1)
    return at >= 0
