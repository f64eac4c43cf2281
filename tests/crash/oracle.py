"""The judge: from the ledger alone, was anything done again, changed or lost?"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from .ledger import Line
from .shape import Shape


@dataclass(frozen=True)
class Violation:
    """One broken promise. `kind` is 'again', 'lost', 'unreadable', 'key', 'attempts', 'died' or 'hung'."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Reference:
    """What an uninterrupted run of the shape comes to."""

    result: Any
    calls: Counter[str]

    @classmethod
    def of(cls, lines: list[Line]) -> Reference:
        ends = [line.value for line in lines if line.what == "end"]
        if len(ends) != 1:
            raise AssertionError(f"the uninterrupted run ended {len(ends)} times")
        return cls(ends[0], _calls_seen(lines))


@dataclass
class Evidence:
    """What is known about one step call."""

    ran: list[Line] = field(default_factory=list)
    seen: list[Line] = field(default_factory=list)
    over: bool = False
    again: list[Line] = field(default_factory=list)


def complete(lines: list[Line], reference: Reference) -> bool:
    """Every result was seen: the run may have finished, and a plain call would start a new one."""
    calls = _calls_seen(lines)
    return all(calls[step] >= count for step, count in reference.calls.items())


def judge(lines: list[Line], shape: Shape, reference: Reference, *, ended: bool = True) -> list[Violation]:
    """Every promise that the trial broke.

    Args:
        lines: the whole ledger of the trial.
        shape: the workload; its concurrency bounds what one kill may run again.
        reference: what the uninterrupted run came to.
        ended: whether the trial went on until a process reached its end.
    """
    calls = _by_call(lines)
    found = [violation for call, evidence in calls.items() for violation in _of_call(call, evidence, shape)]
    found += _too_many_again(calls, shape.concurrency)
    found += _shared_keys(calls)
    if ended:
        found += _of_end(lines, reference)
    return found


def executed_again(lines: list[Line]) -> int:
    """How many executions repeated one of an earlier life (allowed for what was in flight)."""
    return sum(len({line.life for line in evidence.ran}) - 1 for evidence in _by_call(lines).values() if evidence.ran)


def _calls_seen(lines: list[Line]) -> Counter[str]:
    return Counter(step for step, _ in {line.call for line in lines if line.what == "seen"})


def _by_call(lines: list[Line]) -> dict[tuple[str, str], Evidence]:
    calls: dict[tuple[str, str], Evidence] = defaultdict(Evidence)
    for line in lines:
        if line.what == "ran":
            evidence = calls[line.call]
            evidence.ran.append(line)
            if evidence.over:
                evidence.again.append(line)
        elif line.what == "seen":
            calls[line.call].seen.append(line)
            calls[line.call].over = True
        elif line.what == "settled":
            calls[line.call].over = True
    return calls


def _of_call(call: tuple[str, str], evidence: Evidence, shape: Shape) -> list[Violation]:
    name = f"{call[0]}({call[1]})"
    found = []
    if evidence.again:
        lives = [line.life for line in evidence.again]
        found.append(Violation("again", f"{name} was executed again in life {lives} after its outcome was visible"))
    tries = Counter((line.pid if shape.workers else line.life, line.attempt) for line in evidence.ran)
    if twice := [pair for pair, count in tries.items() if count > 1]:
        found.append(Violation("again", f"{name} was executed twice in one (life, attempt): {twice}"))
    keys = {line.key for line in evidence.ran}
    if len(keys) > 1:
        found.append(Violation("key", f"{name} ran under {len(keys)} idempotency keys: {sorted(keys)}"))
    attempts = [line.attempt for line in evidence.ran]
    # An edited script fails before it is mended, and a run that failed begins its attempts anew.
    if attempts != sorted(attempts) and not shape.editions:
        found.append(Violation("attempts", f"{name} got its attempts back: {attempts}"))
    values = [line.value for line in evidence.seen]
    if any(value != values[0] for value in values):
        found.append(Violation("lost", f"{name} was seen with different results: {values}"))
    tokens = {line.token for line in evidence.ran}
    if values and values[0][1] not in tokens:
        found.append(Violation("lost", f"{name} showed a result that no execution returned: {values[0]}"))
    return found


def _too_many_again(calls: dict[tuple[str, str], Evidence], concurrency: int) -> list[Violation]:
    """A death may cost the steps in flight, no more: count what ran in a life and then in a later one."""
    cut_off: dict[int, list[str]] = defaultdict(list)
    for (step, item), evidence in calls.items():
        lives = sorted({line.life for line in evidence.ran})
        for life in lives[:-1]:
            cut_off[life].append(f"{step}({item})")
    return [
        Violation(
            "again", f"the end of life {life} made {len(names)} steps run again, {concurrency} in flight: {names}"
        )
        for life, names in cut_off.items()
        if len(names) > concurrency
    ]


def _shared_keys(calls: dict[tuple[str, str], Evidence]) -> list[Violation]:
    owners: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for call, evidence in calls.items():
        for line in evidence.ran:
            owners[line.key].add(call)
    return [
        Violation("key", f"one idempotency key for different calls: {sorted(owner)}")
        for key, owner in owners.items()
        if key and len(owner) > 1
    ]


def _of_end(lines: list[Line], reference: Reference) -> list[Violation]:
    ends = [line.value for line in lines if line.what == "end"]
    if not ends:
        return [Violation("lost", "no process reached the end")]
    found = [
        Violation("lost", f"ended with {end}, uninterrupted {reference.result}")
        for end in ends
        if end != reference.result
    ]
    calls = _calls_seen(lines)
    # An edited script may have seen results of a version that is gone.
    wrong = {step: (calls[step], count) for step, count in reference.calls.items() if calls[step] != count}
    if wrong:
        found.append(Violation("lost", f"calls seen, and in the uninterrupted run: {wrong}"))
    return found
