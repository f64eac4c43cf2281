"""What calls spend (money, tokens, time), and the bounds of it that hold for a block of a workflow.

What a call has spent is known by the call, in whatever life of the run: on resume, calls that have records bring what
they cost with them, so that a bound stops the same call. It is kept in the state file (store/spending.py).
"""

from __future__ import annotations

from contextvars import ContextVar
from math import inf
from shlex import quote
from typing import Final, Protocol

import msgspec

from perdure.errors import BudgetExceeded

NANO: Final = 1_000_000_000
"""Money is counted in billionths of a dollar: whole numbers add up exactly."""

MOST: Final = 10**17
"""What one attempt spends and one budget allows at most, in the units that are counted: sums of it can be kept."""


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """Billionths of a dollar, tokens, calls, and milliseconds that attempts took."""

    usd: int = 0
    tokens: int = 0
    calls: int = 0
    ms: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        """Both together."""
        return Amounts(self.usd + other.usd, self.tokens + other.tokens, self.calls + other.calls, self.ms + other.ms)


NOTHING: Final = Amounts()
ONE_CALL: Final = Amounts(calls=1)


class _Sum:
    """Amounts that grow in place."""

    __slots__ = ("calls", "ms", "tokens", "usd")

    def __init__(self) -> None:
        self.usd = self.tokens = self.calls = self.ms = 0

    def add(self, usd: int, tokens: int, calls: int, ms: int) -> None:
        self.usd += usd
        self.tokens += tokens
        self.calls += calls
        self.ms += ms

    def amounts(self) -> Amounts:
        return Amounts(self.usd, self.tokens, self.calls, self.ms)


CallId = tuple[str, bytes, int]
"""Name, key and occurrence of a call."""


class Lock(Protocol):
    """A lock. Asked for by its methods, not by `with`: that costs as much again as the lock itself, at each step."""

    def acquire(self) -> object:
        """Wait for it."""

    def release(self) -> object:
        """Let go of it."""


class UnderWay(Protocol):
    """What an attempt has spent so far, as its engine keeps it."""

    def saved(self) -> None:
        """The record of its call is saved, and says that."""


class Bounds(msgspec.Struct, frozen=True):
    """What a block may spend; None: no bound. In the units of `Amounts`."""

    usd: int | None = None
    tokens: int | None = None
    calls: int | None = None
    ms: int | None = None

    def raised_to(self, other: Bounds) -> Bounds:
        """Each bound that is set, and higher in `other`, as it is there."""
        found: dict[str, int] = {}
        for field in self.__struct_fields__:
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine is not None and theirs is not None and theirs > mine:
                found[field] = theirs
        return msgspec.structs.replace(self, **found)

    def reached(self, spent: Amounts | _Sum) -> str:
        """The first bound that is used up: the name of its field; or an empty text."""
        usd, tokens, calls, ms = self.usd, self.tokens, self.calls, self.ms
        if usd is not None and spent.usd >= usd:
            return "usd"
        if tokens is not None and spent.tokens >= tokens:
            return "tokens"
        if calls is not None and spent.calls >= calls:
            return "calls"
        return "ms" if ms is not None and spent.ms >= ms else ""


class Ledger:
    """What one block of a run has spent. Used by several threads.

    Args:
        rid: the run's number.
        number: which block of the run it is, in the order in which they were entered.
        bounds: what it may spend.
        before: what its calls spent in earlier lives of the run.
        lock: keeps threads apart that count at the same time. Who says what is spent holds it already.
    """

    def __init__(self, run: str, rid: int, number: int, bounds: Bounds, before: Amounts, lock: Lock) -> None:
        self.run = run
        self.rid = rid
        self.label = f"{rid}:{number}"
        self.bounds = bounds
        self.undoable = False  # what its calls have spent may be spent once more, when they are made again
        self._before = before
        self._lock = lock
        most = [inf if bound is None else bound for bound in msgspec.structs.astuple(bounds)]
        self._most_usd, self._most_tokens, self._most_calls, self._most_ms = most
        self._seen = _Sum()  # by the calls that this life has come to
        # Spent in this life; as long as nothing was before, all of that is seen.
        self._new = _Sum() if before != NOTHING else self._seen

    @property
    def seen(self) -> Amounts:
        """What the calls have spent that the workflow has made so far."""
        self._lock.acquire()
        try:
            return self._seen.amounts()
        finally:
            self._lock.release()

    def replayed(self, spent: Amounts) -> None:
        """A call has its record, and had spent that."""
        self._lock.acquire()
        try:
            self._seen.add(spent.usd, spent.tokens, spent.calls, spent.ms)
        finally:
            self._lock.release()

    def spend(self, usd: int = 0, tokens: int = 0, ms: int = 0) -> None:
        """A call that is made now has spent that, in the units of `Amounts`. Called with the lock held."""
        seen = self._seen
        seen.usd += usd
        seen.tokens += tokens
        if ms:
            seen.ms += ms
        if self._new is not seen:
            self._new.add(usd, tokens, 0, ms)

    def withdraw(self, earlier: Amounts) -> None:
        """A call that was admitted is not made after all; `earlier` is what it was admitted with."""
        self._lock.acquire()
        try:
            self._seen.add(-earlier.usd, -earlier.tokens, -earlier.calls, -earlier.ms)
            if earlier.calls == 0:
                self._seen.calls -= 1
                if self._new is not self._seen:
                    self._new.calls -= 1
        finally:
            self._lock.release()

    def admit(self, owner: str, earlier: Amounts) -> BudgetExceeded | None:
        """May a call begin that has no record? It counts from now on; `earlier` is what it spent in earlier lives."""
        self._lock.acquire()
        try:
            seen = self._seen
            most = seen if self._new is seen else self._most(again=1 if earlier.calls else 0)
            if (
                most.usd >= self._most_usd
                or most.tokens >= self._most_tokens
                or most.calls >= self._most_calls
                or most.ms >= self._most_ms
            ):
                return self._exceeded(owner, self.bounds.reached(most), most)
            if earlier is not NOTHING:
                seen.add(earlier.usd, earlier.tokens, earlier.calls, earlier.ms)
            if earlier.calls == 0:  # else it was begun in an earlier life, and counts once
                seen.calls += 1
                if self._new is not seen:
                    self._new.calls += 1
            return None
        finally:
            self._lock.release()

    def refuse(self, owner: str) -> BudgetExceeded | None:
        """The same for what is no call of a step itself, but may make some."""
        self._lock.acquire()
        try:
            most = self._most()
            field = self.bounds.reached(most)
            return self._exceeded(owner, field, most) if field else None
        finally:
            self._lock.release()

    def _most(self, again: int = 0) -> Amounts | _Sum:
        """What is spent; `again` is 1 if a call is to be judged that was begun in an earlier life: that is no other."""
        before, seen, new = self._before, self._seen, self._new
        if new is seen:
            return seen
        return Amounts(
            max(seen.usd, before.usd + new.usd),
            max(seen.tokens, before.tokens + new.tokens),
            max(seen.calls, before.calls + new.calls - again),
            max(seen.ms, before.ms + new.ms),
        )

    def _exceeded(self, owner: str, field: str, spent: Amounts | _Sum) -> BudgetExceeded:
        bound = getattr(self.bounds, field)
        amount = getattr(spent, field)
        name = "seconds" if field == "ms" else field
        # What is undone when the run fails is made again: it needs as much once more, but for calls, which count once.
        most = bound * 2 if field == "calls" or not self.undoable else bound + 2 * max(bound, getattr(spent, field))
        raised = f"{most / NANO:g}" if field == "usd" else f"{-(-most // 1000) if field == 'ms' else most}"
        return BudgetExceeded(
            f"{owner} is not called: {_spent(field, amount, bound)} spent",
            f"raise the bound: `perdure resume {quote(self.run)} --budget {name}={raised}`; or catch it, and go on "
            "with what there is",
        )


def shown(field: str, amount: int) -> str:
    """An amount with its unit."""
    match field:
        case "usd":
            return f"${amount / NANO:.9f}".rstrip("0").rstrip(".")
        case "ms":
            return f"{amount / 1000:g} s"
        case _:
            return f"{amount:,} {field[:-1] if amount == 1 else field}"


def _spent(field: str, amount: int, bound: int) -> str:
    if field in ("usd", "ms"):
        return f"{shown(field, amount)} of {shown(field, bound)} are"
    return f"{amount:,} of {shown(field, bound)} {'is' if amount == 1 else 'are'}"


ledgers: ContextVar[tuple[Ledger, ...]] = ContextVar("perdure_ledgers", default=())
"""Those of the blocks around the code that runs."""
