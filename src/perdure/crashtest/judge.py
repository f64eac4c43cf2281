"""Compares lives that were killed and resumed with undisturbed ones: what was repeated, lost, or came out otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from perdure.core.repeatable_comments import accepts_repetition
from perdure.crashtest.effects import Effect
from perdure.crashtest.kept_rows import AGAIN
from perdure.crashtest.lives import Life
from perdure.crashtest.outcome import Outcome
from perdure.crashtest.points import RUN, Point
from perdure.crashtest.reference import FIELDS, End, Other, Reference

_KEPT_METHODS = ("PUT", "DELETE")
"""A second request of these leaves what the first has left (RFC 9110, section 9.2.2)."""

SHOWN = 60
"""Characters of a value that a finding shows."""


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


def repeated(reference: Reference, lives: Sequence[Life], killed: Point, folder: Path) -> list[Repeated]:
    """The effects that a kill has repeated.

    Args:
        reference: undisturbed runs.
        lives: the one that was killed, and the one that went on.
        killed: where.
        folder: where the script lies, for what its comments accept.
    """
    seen: dict[tuple[str, ...], list[Effect]] = {}
    ended = lives[-1].outcome
    for life in lives:
        for effect in life.effects:
            seen.setdefault((*reference.identity(effect), effect.call), []).append(effect)
    found = []
    for effects in seen.values():
        one = effects[-1]
        if one.kind == "log" or (
            one.kind in AGAIN and (ended is None or not reference.kept.more(ended.kept, one.kind, one.what))
        ):
            continue
        if len(effects) > reference.usual(effects[-1]) and (how := _judged(effects, folder)):
            effect = msgspec.structs.replace(effects[-1], what=reference.shown(effects))
            found.append(Repeated(how, effect, len(effects), killed))
    return found


def _judged(effects: Sequence[Effect], folder: Path) -> str:
    one = effects[-1]
    same = all(effect.what == one.what for effect in effects)  # under a name of its own each time, nothing is replaced
    if all(effect.keyed for effect in effects) or (one.key and all(effect.key == one.key for effect in effects)):
        return "keyed"
    if one.kind in ("write", "sqlite"):
        return "repeatable" if same else ""  # what is left over is seen in the files
    if one.kind == "alert":
        return "repeatable" if same else "unsafe"  # the same text is sent once in a quarter of an hour
    if same and one.kind == "http" and one.what.partition(" ")[0] in _KEPT_METHODS:
        return "repeatable"
    return "accepted" if any(accepted(folder, line) for line in (one.at, *one.through)) else "unsafe"


def left_alone(reference: Reference, again: Sequence[Repeated], lives: Sequence[Life], folder: Path) -> set[str]:
    """What is not compared: logs, what was appended to or enqueued twice (a finding by itself), what may be left over.

    Args:
        reference: undisturbed runs.
        again: what was repeated.
        lives: the one that was killed, and the one that went on.
        folder: where the script lies, for what its comments accept.
    """
    found = {reference.files.common(each.effect.what) for each in again if each.effect.kind in ("append", *AGAIN)}
    found |= {reference.files.common(name) for name in logs([*lives, *(end.life for end in reference.ends)])}
    for effect in (effect for life in lives for effect in life.effects if effect.kind in ("append", "write", "sqlite")):
        common = reference.files.common(effect.what)
        if reference.files.is_shape(common) and any(accepted(folder, each) for each in (effect.at, *effect.through)):
            found.add(common)
    return found


def logs(lives: Iterable[Life]) -> set[str]:
    """Files that loggers write: their lines are no effects, and differ from life to life."""
    return {effect.what for life in lives for effect in life.effects if effect.kind == "log"}


def accepted(folder: Path, at: str) -> bool:
    """Does the script accept at that place, FILE:LINE, that an effect is repeated?"""
    name, _, number = at.rpartition(":")
    try:
        text = (folder / name).read_text("utf-8")
    except (OSError, ValueError):
        return False
    return accepts_repetition(text, int(number))


def differences(reference: Reference, resumed: End, killed: Point, leave: Collection[str] = ()) -> list[Finding]:
    """How a resumed run ended otherwise. What differs between undisturbed runs is not compared.

    Args:
        reference: undisturbed runs.
        resumed: killed, and resumed.
        killed: where.
        leave: files that are not compared, or their shapes, and rows of the state file.
    """
    life = resumed.life
    step = killed.step
    if life.stuck:
        fix = "look at what it waits for; a lock or a file of the killed process may be left"
        return [Finding("stuck", step, f"the resumed run does not end, killed {said(killed)}", fix, killed=killed)]
    ended, usual = life.outcome, reference.outcome()
    if ended is None:
        text = f"the resumed process ended without an outcome, killed {said(killed)}: {life.last_line}"
        return [Finding("other-end", step, text, "see what it printed", killed=killed)]
    if ended.code in ("code-drift", "schema-change") and ended.code != usual.code:
        fix = "let nothing that changes between runs reach a step or decide which is called: perdure.now(), or a step"
        return [Finding("drift", step, f"{ended.error_line}, killed {said(killed)}", fix, killed=killed)]
    found = []
    for field in FIELDS:
        now = getattr(ended, field)
        if not reference.fits(field, now):
            found.append(_other_end(reference, ended, killed, field))
            break
    else:
        for what, otherwise in reference.kept.others(ended.kept):
            if what not in leave:
                fix = "a step that is made again has to send, enqueue, publish and keep the same: by its inputs alone"
                found.append(
                    Finding("other-end", step, f"{what} {otherwise}, killed {said(killed)}", fix, killed=killed)
                )
    others = reference.other_files(resumed.files, leave)
    changed = [each.shown for each in others if each.now == each.usual or max(each.now, each.usual) == 1]
    if changed:
        text = f"{', '.join(changed[:3])} differ{'s' if len(changed) == 1 else ''}, killed {said(killed)}"
        fix = "write whole files in a step (a temporary name, then os.replace), or insert with a key of its own"
        found.append(Finding("other-files", step, text, fix, killed=killed))
    elif others:
        text = f"{_counted(others[0])}; killed {said(killed)}"
        fix = (
            "name a file by what it is about, by perdure.now() or perdure.idempotency_key(): a name that is made of the"
            " clock or of chance is another one when the step is executed again"
        )
        found.append(Finding("other-files", step, text, fix, killed=killed))
    if reference.agrees_with_oracle() and resumed.oracle != (one := reference.ends[0].oracle):
        lines = [f"+ {each}" for each in (Counter(resumed.oracle) - Counter(one)).elements()]
        lines += [f"- {each}" for each in (Counter(one) - Counter(resumed.oracle)).elements()]
        text = f"the oracle says otherwise, killed {said(killed)}: {_short('; '.join(lines[:3]))}"
        found.append(Finding("other-files", step, text, "see what the oracle looks at", killed=killed))
    return found


def _other_end(reference: Reference, ended: Outcome, killed: Point, field: str) -> Finding:
    """What came out otherwise, and why: a call that fails now, a budget that is used up, or something lost."""
    at, now, was = reference.difference(field, getattr(ended, field))
    step, why = killed.step, ""
    fix = "let steps return what later code needs; what a step leaves in memory is gone after a crash"
    failures = reference.new_failures(ended)
    if failures:
        failed = next((each for each in failures if each.step == killed.step), failures[0])
        again = failed.step == killed.step and killed.kind != "after-save"
        why = f"{failed.step!r} fails {'when it is made again' if again else 'in the resumed run'}: {failed.error}; "
        step = failed.step
        if again:
            fix = "a step that was under way is made again: let it look whether its work is done, as of a moved file"
    elif ended.over_budget:
        why = f"{ended.over_budget}; "
        fix = "an attempt that is killed has spent, too, and its budget counts that: leave room for one more"
    now, was = _apart(now, was)
    text = f"{why}{at} is {now}, undisturbed {was}; killed {said(killed)}"
    return Finding("other-end", step, text, fix, killed=killed)


def _counted(other: Other) -> str:
    there = f"{other.now} files are there such as" if other.now != 1 else "1 file is there such as"
    return f"{there} {other.shown}, undisturbed {other.usual}"


def replayed(reference: Reference, first: Life, here: End, there: End) -> list[Finding]:
    """Whether a run makes the same of its records in another environment: hash seed, time zone, a day later.

    Args:
        reference: undisturbed runs.
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
        calls, *others = (_saved([end.life]) for end in reference.ends)
        called = _saved([first, there.life])
        if all(each == calls for each in others) and calls != called:
            more, less = sorted((called - calls).keys()), sorted((calls - called).keys())
            parts = [f"executes {', '.join(more)} more often"] if more else []
            parts += [f"does not execute {', '.join(less)} as often"] if less else []
            text = f"replayed a day later in another time zone, it {' and '.join(parts)}"
            return [_nondeterministic(text, _REACHES_A_STEP)]
    for field, called_so in FIELDS.items():
        now, was = getattr(ended, field), getattr(usual, field)
        if now != was:
            text = (
                f"from the same records, {called_so} is {_short(was)},"
                f" and {_short(now)} a day later in another time zone"
            )
            return [_nondeterministic(text, _REACHES_THE_END)]
    written = logs([here.life, there.life])
    changed = [name for name in reference.differing(here.files, there.files) if name not in written]
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
    if point.kind in ("change", "cut"):
        who = f"{point.step!r}" if point.step else "the workflow's own code"
        return (
            f"before {who} changed a file" if point.kind == "change" else f"when {who} had emptied a file to write it"
        )
    return f"{'before' if point.kind == 'before-save' else 'after'} {where} was saved"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _apart(one: object, other: object) -> tuple[str, str]:
    """Two values, short, from a little before the place where their texts differ."""
    texts = str(one), str(other)
    if max(map(len, texts)) > SHOWN:
        alike = next((place for place, two in enumerate(zip(*texts, strict=False)) if two[0] != two[1]), 0)
        if (begin := alike - SHOWN // 4) > 0:
            texts = f"...{texts[0][begin:]}", f"...{texts[1][begin:]}"
    return _short(texts[0]), _short(texts[1])
