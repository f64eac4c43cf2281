"""`perdure.budget` and `perdure.spend`: what the steps of a block may spend, and what they do."""

from __future__ import annotations

import math
from contextvars import Token
from decimal import Decimal
from types import TracebackType
from typing import Any

from perdure.api.step import UNSET
from perdure.core.durations import Duration, bound
from perdure.core.execution.spending import MOST, NANO, Amounts, Bounds, Ledger, ledgers
from perdure.engines.interface import StepContext, here
from perdure.errors import OptionError, PerdureError, UsageError

_UNSET: Any = UNSET
_MOST_USD = MOST // NANO


class Spending:
    """What is spent of a budget, or left of it. `usd` in dollars, `seconds` that attempts of steps took."""

    __slots__ = ("calls", "seconds", "tokens", "usd")

    def __init__(self, usd: float | None, tokens: int | None, calls: int | None, seconds: float | None) -> None:
        self.usd = usd
        self.tokens = tokens
        self.calls = calls
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"Spending(usd={self.usd}, tokens={self.tokens}, calls={self.calls}, seconds={self.seconds})"


class budget:  # noqa: N801  it is used like a function
    """Bounds what the steps in a `with` block of a workflow may spend: the next step raises `BudgetExceeded`.

    What counts is what `perdure.spend` says in the steps of the block, also in failed attempts, in child workflows and
    in earlier lives of the run: a kill loses nothing, and nothing is counted twice. What is under way when a bound is
    reached comes to its end, so a bound can be passed by what runs at the same time.

    Args:
        usd: (float or Decimal) dollars.
        tokens: (int) tokens.
        calls: (int) calls of steps; attempts of one call count once.
        seconds: (seconds, timedelta or text such as "15m") time that attempts of steps take, added up.

    Attributes:
        spent: what the calls so far have spent, a `Spending`: the same at the same place in each life of the run.
        left: what is left of each bound by that; None where there is none. The bound itself counts more if the script
            was edited: an attempt that was killed, of a call that is not made any more, has spent what it has spent.

    Raises:
        OptionError: no bound is given, or one is not a positive number.
        UsageError: it is entered outside a workflow.
    """

    def __init__(
        self,
        *,
        usd: float | Decimal | None = None,
        tokens: int | None = None,
        calls: int | None = None,
        seconds: Duration | None = None,
    ) -> None:
        self._bounds = bounds_of(usd=usd, tokens=tokens, calls=calls, seconds=seconds)
        self._ledger: Ledger | None = None
        self._reset: Token[tuple[Ledger, ...]] | None = None

    def __enter__(self) -> budget:
        """Begin the block."""
        scope: Any = here.get()
        if scope is None or isinstance(scope, StepContext):
            raise UsageError(
                "perdure.budget is entered outside a workflow",
                "put the `with` block around the calls of steps, in a function decorated with @workflow",
            )
        spending = getattr(scope, "spending", None)
        if spending is None:
            raise _unsupported("perdure.budget")
        if self._reset is not None:
            raise UsageError("a budget is entered a second time", "make one for each block: with perdure.budget(...)")
        self._ledger = ledger = spending.open(self._bounds)
        self._reset = ledgers.set((*ledgers.get(), ledger))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._reset is not None
        ledgers.reset(self._reset)

    async def __aenter__(self) -> budget:
        """The same in async code."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    @property
    def spent(self) -> Spending:
        """What the calls so far have spent."""
        seen = Amounts() if self._ledger is None else self._ledger.seen
        return Spending(seen.usd / NANO, seen.tokens, seen.calls, seen.ms / 1000)

    @property
    def left(self) -> Spending:
        """What is left of each bound, never less than 0; None where there is none."""
        seen = Amounts() if self._ledger is None else self._ledger.seen
        bounds = self._bounds if self._ledger is None else self._ledger.bounds

        def rest(field: str) -> int | None:
            most: int | None = getattr(bounds, field)
            return None if most is None else max(most - int(getattr(seen, field)), 0)

        usd, ms = rest("usd"), rest("ms")
        return Spending(
            None if usd is None else usd / NANO,
            rest("tokens"),
            rest("calls"),
            None if ms is None else ms / 1000,
        )


def spend(*, usd: float | Decimal = _UNSET, tokens: int = _UNSET) -> None:
    """Say what this attempt of the step has spent, as soon as it is known. It counts for the budgets around the call.

    It is written down before this returns, so that a kill does not lose it, and saved with the step itself: there is no
    further commit. Outside of a workflow it does nothing.

    Args:
        usd: (float or Decimal) dollars, to a billionth.
        tokens: (int) tokens.

    Raises:
        OptionError: neither is given, or one is None (a price that is not known is not nothing), negative or no number.
        UsageError: called in a workflow outside a step, or in an isolated step.
        StateIO: it cannot be written down.
    """
    nano = count = 0
    if type(usd) is float and 0.0 <= usd <= 1_000_000.0:  # as nearly always; what is more may not be added to exactly
        nano = int(usd * NANO + 0.5)
    elif usd is not _UNSET:
        nano = _nano(usd, "usd of perdure.spend")
    elif tokens is _UNSET:
        raise OptionError("perdure.spend() is given nothing", "give usd=, tokens= or both")
    if type(tokens) is int and 0 <= tokens <= MOST:
        count = tokens
    elif tokens is not _UNSET:
        count = _whole(tokens, "tokens of perdure.spend")
    context: Any = here.get()
    if context is None:
        return
    if type(context) is not StepContext:
        raise UsageError(
            "perdure.spend() is called in a workflow, outside a step",
            "call it in the step that spends, once it knows what",
        )
    scope: Any = context.scope
    try:
        spending = scope.spending
    except AttributeError:
        raise _no_spending(context) from None
    spending.spend(context.call, nano, count)


def bounds_of(**given: Any) -> Bounds:
    """The bounds of a budget, checked.

    Raises:
        OptionError: there is none, or one is not a positive number.
    """
    usd, tokens, calls, seconds = (given.get(name) for name in ("usd", "tokens", "calls", "seconds"))
    if usd is tokens is calls is seconds is None:
        raise OptionError("perdure.budget has no bound", "give usd=, tokens=, calls= or seconds=")
    return Bounds(
        None if usd is None else _nano(usd, "usd of a budget"),
        None if tokens is None else _whole(tokens, "tokens of a budget"),
        None if calls is None else _whole(calls, "calls of a budget"),
        None if seconds is None else int(bound(seconds, option="seconds of a budget") * 1000),
    )


def _shown(value: Any) -> str:
    """Python refuses to print an int of thousands of digits."""
    return "a negative number of many digits" if type(value) is int and value < -MOST else repr(value)


def _nano(usd: Any, option: str) -> int:
    kind = type(usd)
    if kind not in (int, float, Decimal) or (kind is not int and not math.isfinite(usd)) or usd < 0:
        raise OptionError(f"{option} is {_shown(usd)}", "give a number of dollars, 0 or more; None is not nothing")
    if usd > _MOST_USD:
        raise OptionError(f"{option} is more than can be counted", f"give at most {_MOST_USD:,} dollars")
    nano: int = round(usd * NANO)
    return nano


def _whole(count: Any, option: str) -> int:
    if type(count) is not int or count < 0:
        raise OptionError(f"{option} is {_shown(count)}", "give a whole number, 0 or more; None is not nothing")
    if count > MOST:
        raise OptionError(f"{option} is more than can be counted", f"give a whole number up to {MOST:,}")
    return count


def _no_spending(context: StepContext) -> PerdureError:
    if context.scope is not None:
        return _unsupported("perdure.spend")
    return UsageError(
        f"perdure.spend() is called in step {context.call.spec.name!r}, which is executed in another process",
        "return what it has spent, and call perdure.spend in a step without isolate= or processes=",
    )


def _unsupported(what: str) -> PerdureError:
    from perdure.engines.features import TEMPORAL, Feature

    return TEMPORAL.unsupported(Feature.BUDGET, option=what)
