"""What must be true after the demo, counted from the API's ledger and held against what the workflow says of itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from perdure.demo.api import Order, refusal
from perdure.demo.ledger import Effect, Line, Request, charged

KILLED = "killed"
"""Name of the mark that stands in the ledger where the first run was killed."""

AGAIN = "again"
"""Name of the mark that stands where the second run was started."""


@dataclass(frozen=True)
class Account:
    """What the workflow says of itself.

    Args:
        runs: how many runs there are in the state file.
        saved: orders whose charge was saved, or parked as a dead letter, when the run was killed.
        parked: orders that are dead letters at the end.
        dead: orders that the workflow's result calls dead.
        charged: how many charges the workflow's result speaks of.
        totals: the sums it speaks of, by currency.
    """

    runs: int
    saved: Sequence[str]
    parked: Sequence[str]
    dead: Sequence[str]
    charged: int
    totals: Mapping[str, Decimal]


@dataclass(frozen=True)
class Claim:
    """One thing that must be true. It is, unless there are problems.

    Args:
        name: short, for programs.
        text: with the figures as they were counted.
        problems: what was found instead.
    """

    name: str
    text: str
    problems: Sequence[str] = ()

    @property
    def holds(self) -> bool:
        """Whether it is true."""
        return not self.problems


def prove(orders: Sequence[Order], lines: Sequence[Line], account: Account, concurrency: int) -> list[Claim]:
    """Check every promise of the demo.

    Args:
        orders: those that were to be charged.
        lines: the API's ledger, with the mark `KILLED` between the two runs.
        account: what the workflow says of itself.
        concurrency: how many orders may have been in flight at the kill.
    """
    before, after = split(lines)
    refused = {order.id: reason for order in orders if (reason := refusal(order))}
    good = [order for order in orders if order.id not in refused]
    return [
        _killed_half_way(before, after),
        _resumed(account),
        _once(good, lines),
        _never(refused, lines),
        _parked(refused, account),
        _not_again(account, after),
        _in_flight(before, after, concurrency),
        _same_key(orders, lines),
        _unanswered(lines),
        _totals(good, lines, account),
    ]


def split(lines: Iterable[Line]) -> tuple[list[Request], list[Request]]:
    """The requests above and below the mark; all are above if there is none."""
    before: list[Request] = []
    after: list[Request] = []
    side = before
    for line in lines:
        if isinstance(line, Request):
            side.append(line)
        elif line.name == KILLED:
            side = after
    return before, after


def _killed_half_way(before: Sequence[Request], after: Sequence[Request]) -> Claim:
    first, second = len(charged(before)), len(charged(after))
    problems = []
    if not first:
        problems.append("nothing was charged before the kill")
    if not second:
        problems.append("nothing was charged after it")
    return Claim("killed-half-way", f"killed half way: {first} charges before kill -9, {second} after", problems)


def _resumed(account: Account) -> Claim:
    problems = [] if account.runs == 1 else [f"the state file has {_times(account.runs, 'run')}"]
    return Claim("resumed", "the second process went on with the run of the first", problems)


def _once(good: Sequence[Order], lines: Sequence[Line]) -> Claim:
    times = Counter(charged(lines))
    problems = [f"{order.id} was charged {_times(times[order.id])}" for order in good if times[order.id] != 1]
    strangers = times.keys() - {order.id for order in good}
    problems += [f"{order} was charged, and is no order of ours that could be" for order in sorted(strangers)]
    return Claim(
        "charged-once", f"{len(good)} good orders: each charged exactly once ({times.total()} charges)", problems
    )


def _never(refused: Collection[str], lines: Sequence[Line]) -> Claim:
    times = Counter(charged(lines))
    problems = [f"{order} was charged {_times(times[order])}" for order in refused if times[order]]
    asked = {line.order for line in lines if isinstance(line, Request)}
    problems += [f"{order} was never sent" for order in refused if order not in asked]
    return Claim("poison-not-charged", f"{len(refused)} poison orders: sent, refused, not charged", problems)


def _parked(refused: Collection[str], account: Account) -> Claim:
    parked = Counter(account.parked)
    problems = [
        f"{order} is poison and in {_times(parked[order], 'dead letter')}" for order in refused if parked[order] != 1
    ]
    problems += [f"{order} is a good order and a dead letter" for order in sorted(parked.keys() - set(refused))]
    if parked != Counter(account.dead):
        problems.append(f"the workflow's result calls others dead: {', '.join(account.dead) or 'none'}")
    return Claim("poison-parked", f"{parked.total()} dead letters: the poison orders, and no other", problems)


def _not_again(account: Account, after: Sequence[Request]) -> Claim:
    again = set(account.saved) & {line.order for line in after}
    problems = [f"{order} was saved before the kill and sent again after it" for order in sorted(again)]
    if not account.saved:
        problems.append("no charge was saved before the kill")
    return Claim(
        "saved-not-again",
        f"{len(account.saved)} charge steps were saved before the kill; the second run skipped them",
        problems,
    )


def _in_flight(before: Sequence[Request], after: Sequence[Request], concurrency: int) -> Claim:
    last = {line.order: line.outcome for line in before}
    # One whose last answer was a failure was waiting for its next attempt, which it gets.
    both = {line.order for line in after if last.get(line.order) == "answered"}
    problems = [f"that is more than {concurrency}: {', '.join(sorted(both))}"] if len(both) > concurrency else []
    return Claim(
        "only-in-flight-again",
        f"{len(both)} orders were answered and not yet saved at the kill, and sent again (at most {concurrency})",
        problems,
    )


def _same_key(orders: Sequence[Order], lines: Sequence[Line]) -> Claim:
    keys: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if isinstance(line, Request):
            keys[line.order].add(line.key)
            owners[line.key].add(line.order)
    problems = [f"{order.id} was never sent" for order in orders if not keys[order.id]]
    problems += [f"{order} was sent without a key" for order, used in keys.items() if "" in used]
    problems += [f"{order} was sent with {len(used)} different keys" for order, used in keys.items() if len(used) > 1]
    problems += [f"one key for {', '.join(sorted(group))}" for key, group in owners.items() if key and len(group) > 1]
    return Claim(
        "one-key-each",
        f"{sum(bool(key) for key in owners)} idempotency keys for {len(keys)} orders, on both runs",
        problems,
    )


def _unanswered(lines: Sequence[Line]) -> Claim:
    lost = {line.order for line in lines if isinstance(line, Request) and line.outcome.startswith("charged, then")}
    replayed = {line.order for line in lines if isinstance(line, Request) and line.effect is Effect.REPLAYED}
    problems = [f"{order} was charged without an answer and not asked for again" for order in sorted(lost - replayed)]
    if not lost:
        problems.append("the API lost no answer, so nothing was at stake")
    return Claim(
        "lost-answers-asked-again",
        f"{len(lost)} times the API charged and the answer was lost: asked again, same charge",
        problems,
    )


def _totals(good: Sequence[Order], lines: Sequence[Line], account: Account) -> Claim:
    ledger = _sums(line for line in lines if isinstance(line, Request) and line.effect is Effect.CHARGED)
    ordered = _sums(good)
    problems = []
    if ledger != ordered:
        problems.append(f"ordered {_money(ordered)}, charged {_money(ledger)}")
    if ledger != account.totals:
        problems.append(f"the workflow says {_money(account.totals)}, the ledger {_money(ledger)}")
    count = len(charged(lines))
    if account.charged != count:
        problems.append(f"the workflow says {account.charged} charges, the ledger {count}")
    return Claim("sums-agree", f"the workflow's sums are the ledger's, in {len(ledger)} currencies", problems)


def _sums(items: Iterable[Order | Request]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for item in items:
        sums[item.currency] += Decimal(item.amount)
    return dict(sums)


def _money(sums: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in sorted(sums.items())) or "nothing"


def _times(count: int, what: str = "time") -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
