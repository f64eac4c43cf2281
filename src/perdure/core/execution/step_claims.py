"""What a run knows of the calls under one name: their records, and which calls were made."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.core.execution.seen_keys import KEY, ONE_BY_ONE, ManyKeys


class StepClaims:
    """All that a run knows of the calls under one name."""

    __slots__ = ("again", "claimed", "left", "many", "matched", "once", "open", "seen", "taken", "unclaimed")

    def __init__(self) -> None:
        # By key: which occurrence a new call would be, if no record says more; the unclaimed record of the first
        # occurrence; occurrence and number of the unclaimed further ones; and the occurrences that have records, if
        # there are further ones.
        self.seen: dict[bytes, int] = {}
        self.many: ManyKeys | None = None  # further ones, seen once
        self.once: dict[bytes, int] = {}
        self.again: dict[bytes, dict[int, int]] = {}
        self.taken: dict[bytes, set[int]] = {}
        self.claimed = bytearray()  # the keys of calls that have claimed the record of a first occurrence, not seen yet
        self.matched = False  # a call has claimed a record
        self.left = 0  # records in `once` and `again`
        self.open = 0  # those of them of completed calls, which edited code may contradict
        self.unclaimed: set[int] | None = None  # the numbers of these; made when they are asked for

    def occurrence(self, key: bytes) -> int:
        """How many calls with that key were there, as far as no record says more?"""
        if self.claimed:
            self.see_claimed()
        n = self.seen.get(key, 0)
        if n:
            return n
        return 1 if self.many is not None and key in self.many else 0

    def count(self, key: bytes, n: int) -> None:
        """A call with that key is its `n`-th occurrence."""
        if n == 0 and len(self.seen) >= ONE_BY_ONE:
            self._keys().add(key)
        else:
            self.seen[key] = n + 1

    def is_first(self, key: bytes) -> bool:
        """Is a call with that key the first, of a step without records and with many calls? It is counted then."""
        return key not in self.seen and not self._keys().add(key)

    def see_claimed(self) -> None:
        """Count the calls that have claimed the record of a first occurrence: so many at once, it costs them little."""
        keys, self.claimed = bytes(self.claimed), bytearray()
        few = max(0, ONE_BY_ONE - len(self.seen)) * KEY
        for at in range(0, len(keys[:few]), KEY):
            self.seen.setdefault(keys[at : at + KEY], 1)
        if len(keys) > few:
            self._keys().add_all(keys[few:])

    def _keys(self) -> ManyKeys:
        if self.many is None:
            self.many = ManyKeys()
        return self.many

    def pop(self, key: bytes, n: int) -> int | None:
        """The number of the unclaimed record of that occurrence, which is claimed now."""
        if n == 0:
            return self.once.pop(key, None)
        again = self.again.get(key)
        if again is None:
            return None
        further = again.pop(n, None)
        if not again:
            del self.again[key]
        return further

    def has(self, key: bytes, n: int, seq: int) -> bool:
        """Is that the unclaimed record of that occurrence?"""
        return seq == (self.once.get(key) if n == 0 else self.again.get(key, {}).get(n))

    def numbers(self) -> Iterator[int]:
        """The numbers of the records that are unclaimed."""
        yield from self.once.values()
        yield from (seq for ns in self.again.values() for seq in ns.values())
