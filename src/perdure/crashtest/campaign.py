"""Which kills are tried on a workflow, in which order, and what came of them."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from perdure.crashtest.effects import Refusal
from perdure.crashtest.judge import End, Finding, Repeated, differences, repeated, replayed, said
from perdure.crashtest.life import Outcome
from perdure.crashtest.lives import FIRST, OTHER, Laboratory, Life, Target, World
from perdure.crashtest.points import RUN, Point
from perdure.crashtest.scratch import contents
from perdure.errors import UsageError

PATIENCE = 30.0
"""Seconds that one life may take, and the oracle."""

DAY_AND_HOUR = 25 * 3600.0
"""Seconds by which the clock of the replay is off: another day, and another hour of it."""

EACH = 2
"""Kills that every step gets at least."""

FRESH = 10
"""Every so many kills happen in an interpreter of their own."""


class Report(msgspec.Struct):
    """What a campaign has found.

    Attributes:
        workflow: what was tested.
        steps: records of steps that an undisturbed run makes.
        names: the steps that it calls.
        kills: how many runs were killed and resumed.
        seconds: how long that took.
        findings: what is wrong, each kind and place once.
        repeated: effects that came again and may: keyed, repeatable or accepted.
        not_killed: steps that were killed less than twice: the time was over, or the run did not come there again.
        refused: what it was kept from.
        unstable: what differs between two undisturbed runs, and was not compared.
        ending: how the undisturbed run ends, if not well.
        at_the_end: the same, if it fails when all is done, by its dead letters (`fail_on_dead=`).
    """

    workflow: str
    steps: int = 0
    names: list[str] = []
    kills: int = 0
    seconds: float = 0
    findings: list[Finding] = []
    repeated: list[Repeated] = []
    not_killed: list[str] = []
    refused: list[Refusal] = []
    unstable: list[str] = []
    ending: str = ""
    at_the_end: str = ""

    @property
    def finished(self) -> bool:
        """Was every step killed as often as it has to be, and did the undisturbed run come to its end?"""
        return not self.not_killed and not self.ending

    def keep(self, finding: Finding) -> None:
        """Add a finding, unless there is one of its kind and place."""
        if all((each.kind, each.step, each.at) != (finding.kind, finding.step, finding.at) for each in self.findings):
            self.findings.append(finding)


def crashtest(
    target: Target,
    *,
    kills: int = 200,
    seconds: float = 60.0,
    seed: int = 0,
    oracle: str | None = None,
    patience: float = PATIENCE,
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """Kill a workflow again and again, resume it, and compare how it ends.

    Args:
        target: what is tested.
        kills: how many runs are killed, at most.
        seconds: how long that may take; every step is killed twice first.
        seed: chooses among the points.
        oracle: a shell command that is run in the copied folder at each end; its lines have to be the same.
        patience: seconds that one life may take.
        progress: is given a line now and then.

    Raises:
        UsageError: the script has no such workflow, or cannot be started.
    """
    began = time.monotonic()
    report = Report(f"{target.script.name}{':' + target.workflow if target.workflow else ''}")
    with Laboratory(target, patience) as laboratory:
        ends = _undisturbed(laboratory, oracle, report)
        if ends is not None:
            one, other = ends
            progress(f"undisturbed: {report.steps} steps, {len(report.names)} names")
            for finding in _replay(laboratory, one, other, oracle):
                report.keep(finding)
            _kill(laboratory, one, other, oracle, report, _plan(one.life.points, kills, seed), seconds)
    report.seconds = time.monotonic() - began
    return report


def _undisturbed(laboratory: Laboratory, oracle: str | None, report: Report) -> tuple[End, End] | None:
    """Two runs that nothing happens to; None if there is nothing to compare with."""
    one = _one_undisturbed(laboratory, oracle)
    life, outcome = one.life, one.life.outcome
    report.refused = list({(each.kind, each.what): each for each in life.refusals}.values())
    if outcome is None:
        if life.stuck:
            report.keep(_never_ending(life, laboratory.patience))
            return None
        raise UsageError(
            f"the workflow's process ends before the workflow does: {life.last_line}",
            "see what ends it: os._exit, a signal, a fault of a library",
        )
    if outcome.end == "unusable":
        refused = _in_our_words(outcome)
        raise UsageError(f"the workflow cannot be started: {refused.error_line}", refused.hint)
    if outcome.code == "not-storable":
        report.keep(Finding("unstorable", RUN, outcome.error_line, "return plain data, or a path"))
        return None
    if outcome.end == "failed" and outcome.returned:
        report.at_the_end = outcome.error_line
    elif outcome.end == "failed":
        report.ending = outcome.error_line
    saved = [point.step for point in life.points if point.kind == "after-save" and point.step != RUN]
    report.steps, report.names = len(saved), list(dict.fromkeys(saved))
    other = _one_undisturbed(laboratory, oracle)
    if other.life.outcome is None:
        text = f"undisturbed, it ends once and not the next time: {'stuck' if other.life.stuck else life.last_line}"
        report.keep(Finding("stuck", RUN, text, "see what it waits for, and what it shares with other processes"))
        return None
    report.unstable = _unstable(one, other)
    return one, other


def _one_undisturbed(laboratory: Laboratory, oracle: str | None) -> End:
    world = laboratory.world()
    end = _end(world, laboratory.live(world), oracle)
    world.remove()
    return end


def _never_ending(life: Life, patience: float) -> Finding:
    if not life.points:
        text = f"the script is not loaded within {patience:g} s"
        return Finding("stuck", RUN, text, 'put what it does at its top level under `if __name__ == "__main__":`')
    text = f"undisturbed, it does not end within {patience:g} s"
    return Finding("stuck", RUN, text, "give it less to do, or stub what waits: --stub STEP=JSON")


def _in_our_words(outcome: Outcome) -> Outcome:
    """Its hint is for this command."""
    hint = outcome.hint.replace("perdure run ", "perdure crashtest ") or "see `perdure crashtest --help`"
    return msgspec.structs.replace(outcome, hint=hint)


def _unstable(one: End, other: End) -> list[str]:
    found = [
        name for name in sorted(one.files.keys() | other.files.keys()) if one.files.get(name) != other.files.get(name)
    ]
    if one.life.outcome != other.life.outcome:
        found.append("the result")
    if one.oracle != other.oracle:
        found.append("what the oracle says")
    return found


def _replay(laboratory: Laboratory, one: End, other: End, oracle: str | None) -> list[Finding]:
    """Two lives with the same records, the second in another environment: what they make of them has to be the same."""
    last = next((p for p in reversed(one.life.points) if p.kind == "after-save" and p.step != RUN), None)
    if last is None:
        return []
    world = laboratory.world()
    first = laboratory.live(world, last)
    found: list[Finding] = []
    if first.outcome is None and last in first.points:
        world.keep()
        here = _end(world, laboratory.live(world), oracle)
        world.put_back()
        there = _end(world, laboratory.live(world, environment=OTHER, shift=DAY_AND_HOUR), oracle)
        found = replayed(one, other, first, here, there)
    world.remove()
    return found


def _plan(points: Sequence[Point], kills: int, seed: int) -> list[Point]:
    """The points to kill at: in each round one of each step, so that none is left out when the time is over."""
    chance = random.Random(seed)
    queues = []
    for step in dict.fromkeys(point.step for point in points):
        kinds = []
        for kind in ("before-save", "effect", "after-save"):
            of_kind = [point for point in points if (point.step, point.kind) == (step, kind)]
            chance.shuffle(of_kind)
            kinds.append(of_kind)
        queues.append([point for turn in _turns(kinds) for point in turn])
    return [point for turn in _turns(queues) for point in turn][:kills]


def _turns(queues: Sequence[Sequence[Point]]) -> Iterator[list[Point]]:
    for place in range(max((len(queue) for queue in queues), default=0)):
        yield [queue[place] for queue in queues if place < len(queue)]


def _kill(
    laboratory: Laboratory,
    one: End,
    other: End,
    oracle: str | None,
    report: Report,
    plan: Sequence[Point],
    seconds: float,
) -> None:
    until = time.monotonic() + seconds
    late = False
    left = Counter({step: min(EACH, count) for step, count in Counter(point.step for point in plan).items()})
    harmless: dict[tuple[str, str, str], Repeated] = {}
    for number, point in enumerate(plan, 1):
        if time.monotonic() > until:
            late = True
            break
        world = laboratory.world()
        environment = FIRST if number % FRESH == 0 else None
        first = laboratory.live(world, point, environment=environment)
        if point in first.points and not first.stuck:
            end = _end(world, laboratory.live(world, environment=environment), oracle)
            report.kills += 1
            left[point.step] -= 1
            again = repeated(one.life, [first, end.life], point, laboratory.target.folder)
            for each in again:
                if each.how == "unsafe":
                    report.keep(_unsafe(each))
                else:
                    harmless[each.how, each.effect.step, each.effect.kind] = each
            appended = {each.effect.what for each in again if each.effect.kind == "append"}
            known = End(one.life, {name: it for name, it in one.files.items() if name not in appended}, one.oracle)
            seen = End(end.life, {name: it for name, it in end.files.items() if name not in appended}, end.oracle)
            for finding in differences(known, other, seen, point):
                report.keep(finding)
        elif first.stuck:
            report.keep(Finding("stuck", point.step, f"it does not come to the point {said(point)}", killed=point))
        elif first.outcome is None:
            text = f"its process ends by itself: {first.last_line}"
            report.keep(Finding("other-end", point.step, text, "see what it printed", killed=point))
        world.remove()
    report.repeated = list(harmless.values())
    report.not_killed = sorted(step or "the run itself" for step, count in left.items() if count > 0)
    if report.not_killed and late:
        text = f"{report.kills} kills in {seconds:g} s; killed less than {EACH} times: {', '.join(report.not_killed)}"
        report.keep(Finding("slow", RUN, text, "give it more time: --time 5m"))


def _unsafe(each: Repeated) -> Finding:
    effect = each.effect
    where = effect.step or "the workflow's own code"
    times = "twice" if each.times == 2 else f"{each.times} times"
    text = f"{where}: {effect.what} {_done[effect.kind]} {times}, killed {said(each.killed)}"
    fix = (
        'send perdure.idempotency_key(), or leave it alone in its step: "# perdure: repeatable REASON"'
        if effect.step
        else "put it into a step: what stands between steps is done again each time the run is resumed"
    )
    return Finding("unsafe", effect.step, text, fix, effect.at, each.killed)


_done = {"http": "sent", "mail": "sent", "append": "appended to", "program": "started"}


def _end(world: World, life: Life, oracle: str | None) -> End:
    lines: list[str] = []
    if oracle is not None and not life.stuck:
        done = subprocess.run(
            oracle, shell=True, cwd=world.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        lines = [*done.stdout.splitlines(), *([f"exit code {done.returncode}"] if done.returncode else [])]
    return End(life, contents(world.folder), lines)
