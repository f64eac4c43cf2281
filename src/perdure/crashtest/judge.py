"""Compares lives that were killed and resumed with undisturbed ones: what was repeated, lost, or came out otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from perdure.core.repeatable_comments import accepts_repetition
from perdure.crashtest.effects import Effect
from perdure.crashtest.lives import Life
from perdure.crashtest.points import RUN, Point

_KEPT_METHODS = ("PUT", "DELETE")
"""A second request of these leaves what the first has left (RFC 9110, section 9.2.2)."""


class End(msgspec.Struct, frozen=True):
    """What is left at the end of a run: how it ended, what lies in the folder, what the oracle says."""

    life: Life
    files: dict[str, str]
    oracle: list[str]


class Finding(msgspec.Struct, frozen=True):
    """Something that a kill brought to light.

    Attributes:
        kind: "unsafe", "other-end", "other-files", "drift", "non-deterministic", "unstorable", "stuck" or "slow".
        step: where; empty for the workflow itself.
        text: what was seen, in one line.
        fix: what to do.
        at: the line of the script, as `file:line`.
        killed: where the run was killed.
    """

    kind: str
    step: str
    text: str
    fix: str = ""
    at: str = ""
    killed: Point | None = None


class Repeated(msgspec.Struct, frozen=True):
    """An effect that happened more often than undisturbed: `how` is "unsafe", "keyed", "repeatable" or "accepted"."""

    how: str
    effect: Effect
    times: int
    killed: Point


def repeated(undisturbed: Life, lives: Sequence[Life], killed: Point, folder: Path) -> list[Repeated]:
    """The effects that a kill has repeated.

    Args:
        undisturbed: the life that nothing happened to.
        lives: the one that was killed, and the one that went on.
        killed: where.
        folder: where the script lies, for what its comments accept.
    """
    usual = Counter(map(_identity, undisturbed.effects))
    seen: dict[tuple[str, ...], list[Effect]] = {}
    for life in lives:
        for effect in life.effects:
            seen.setdefault(_identity(effect), []).append(effect)
    found = []
    for identity, effects in seen.items():
        if len(effects) > max(usual[identity], 1):
            found.append(Repeated(_judged(effects, folder), effects[-1], len(effects), killed))
    return found


def _identity(effect: Effect) -> tuple[str, ...]:
    return (effect.step, effect.kind, effect.what, effect.call)


def _judged(effects: Sequence[Effect], folder: Path) -> str:
    one = effects[-1]
    if all(effect.keyed for effect in effects):
        return "keyed"
    if one.kind in ("write", "sqlite") or (one.kind == "http" and one.what.partition(" ")[0] in _KEPT_METHODS):
        return "repeatable"
    return "accepted" if any(accepted(folder, line) for line in (one.at, *one.through)) else "unsafe"


def accepted(folder: Path, at: str) -> bool:
    """Does the script accept at that place, FILE:LINE, that an effect is repeated?"""
    name, _, number = at.rpartition(":")
    try:
        text = (folder / name).read_text("utf-8")
    except (OSError, ValueError):
        return False
    return accepts_repetition(text, int(number))


def differences(one: End, other: End, resumed: End, killed: Point) -> list[Finding]:
    """How a resumed run ended otherwise. What differs between two undisturbed runs is not compared.

    Args:
        one, other: undisturbed.
        resumed: killed, and resumed.
        killed: where.
    """
    life = resumed.life
    step = killed.step
    if life.stuck:
        fix = "look at what it waits for; a lock or a file of the killed process may be left"
        return [Finding("stuck", step, f"the resumed run does not end, killed {said(killed)}", fix, killed=killed)]
    ended, usual, twin = life.outcome, one.life.outcome, other.life.outcome
    assert usual is not None
    assert twin is not None
    if ended is None:
        text = f"the resumed process ended without an outcome, killed {said(killed)}: {life.last_line}"
        return [Finding("other-end", step, text, "see what it printed", killed=killed)]
    if ended.code in ("code-drift", "schema-change") and ended.code != usual.code:
        fix = "let nothing that changes between runs reach a step or decide which is called: perdure.now(), or a step"
        return [Finding("drift", step, f"{ended.error_line}, killed {said(killed)}", fix, killed=killed)]
    found = []
    for field in ("end", "error", "result", "dead_letters"):
        now, was = getattr(ended, field), getattr(usual, field)
        if now != was and was == getattr(twin, field):
            text = f"{field} is {_short(now)}, undisturbed {_short(was)}; killed {said(killed)}"
            fix = "let steps return what later code needs; what a step leaves in memory is gone after a crash"
            found.append(Finding("other-end", step, text, fix, killed=killed))
            break
    changed = [
        name
        for name in sorted(one.files.keys() | resumed.files.keys())
        if one.files.get(name) == other.files.get(name) != resumed.files.get(name)
    ]
    if changed:
        text = f"{', '.join(changed[:3])} differ{'s' if len(changed) == 1 else ''}, killed {said(killed)}"
        fix = "write whole files in a step (a temporary name, then os.replace), or insert with a key of its own"
        found.append(Finding("other-files", step, text, fix, killed=killed))
    if one.oracle == other.oracle != resumed.oracle:
        lines = [f"+ {each}" for each in (Counter(resumed.oracle) - Counter(one.oracle)).elements()]
        lines += [f"- {each}" for each in (Counter(one.oracle) - Counter(resumed.oracle)).elements()]
        text = f"the oracle says otherwise, killed {said(killed)}: {_short('; '.join(lines[:3]))}"
        found.append(Finding("other-files", step, text, "see what the oracle looks at", killed=killed))
    return found


def replayed(one: End, other: End, first: Life, here: End, there: End) -> list[Finding]:
    """Whether a run makes the same of its records in another environment: hash seed, time zone, a day later.

    Args:
        one, other: undisturbed.
        first: a life that was killed when its last step was saved.
        here, there: the lives that went on from the same records, in the same environment and in another.
    """
    ended, usual = there.life.outcome, here.life.outcome
    if usual is None:
        return []  # it does not even resume here, which the kills say
    if ended is None:
        text = f"replayed in another environment, it ends without an outcome: {there.life.last_line}"
        return [_nondeterministic(text, _REACHES_A_STEP)]
    if ended.code == "code-drift":
        return [_nondeterministic(ended.error_line, _REACHES_A_STEP)]
    if ended.end == "done":
        calls, called = _saved([one.life]), _saved([first, there.life])
        if calls == _saved([other.life]) != called:
            more, less = sorted((called - calls).keys()), sorted((calls - called).keys())
            parts = [f"executes {', '.join(more)} more often"] if more else []
            parts += [f"does not execute {', '.join(less)} as often"] if less else []
            text = f"replayed a day later in another time zone, it {' and '.join(parts)}"
            return [_nondeterministic(text, _REACHES_A_STEP)]
    for field in ("end", "error", "result", "dead_letters"):
        now, was = getattr(ended, field), getattr(usual, field)
        if now != was:
            text = (
                f"from the same records, {field} is {_short(was)}, and {_short(now)} a day later in another time zone"
            )
            return [_nondeterministic(text, _REACHES_THE_END)]
    names = sorted(one.files.keys() | there.files.keys())
    changed = [
        name
        for name in names
        if one.files.get(name) == other.files.get(name) == here.files.get(name) != there.files.get(name)
    ]
    if changed:
        text = f"from the same records, {', '.join(changed[:3])} are other files a day later in another time zone"
        return [_nondeterministic(text, _REACHES_THE_END)]
    return []


_REACHES_A_STEP = (
    "a clock, chance, a set's order or the environment reaches a step: use perdure.now(), random(), or a step"
)
_REACHES_THE_END = (
    "what the workflow's own code takes from a clock, chance or a set's order is not saved: use perdure.now(), "
    "random(), or a step"
)


def _nondeterministic(text: str, fix: str) -> Finding:
    return Finding("non-deterministic", RUN, text, fix)


def _saved(lives: Iterable[Life]) -> Counter[str]:
    return Counter(p.step for life in lives for p in life.points if p.kind == "after-save" and p.step != RUN)


def said(point: Point) -> str:
    """A point in words."""
    where = f"{point.step!r}" if point.step else "the run's own record"
    if point.kind == "effect":
        return f"after an effect of {where} was answered"
    return f"{'before' if point.kind == 'before-save' else 'after'} {where} was saved"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
