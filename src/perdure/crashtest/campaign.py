"""Which kills are tried on a workflow, in which order, and what came of them."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from perdure.crashtest.effects import Refusal
from perdure.crashtest.file_contents import contents
from perdure.crashtest.judge import Finding, Repeated, differences, left_alone, repeated, replayed, said
from perdure.crashtest.kept_rows import AGAIN
from perdure.crashtest.lives import FIRST, OTHER, Laboratory, Life, Target, World
from perdure.crashtest.outcome import Outcome
from perdure.crashtest.points import RUN, Point
from perdure.crashtest.reference import End, Reference
from perdure.errors import UsageError

PATIENCE = 30.0
"""Seconds that one life may take, and the oracle."""

DAY_AND_HOUR = 25 * 3600.0
"""Seconds by which the clock of the replay is off: another day, and another hour of it."""

EACH = 2
"""Kills that every step gets at least."""

CONTROLS = 5
"""Undisturbed runs, at most, that are made when a killed one ends otherwise: the clock may be what has changed."""

GIVE_LESS = (
    "give it less to do, stub what waits (--stub STEP=JSON), or give it what it waits for: --signal NAME=JSON,"
    " --approval yes"
)
"""What to do about a run that does not end by itself."""

FRESH = 10
"""Every so many kills happen in an interpreter of their own."""


class Report(msgspec.Struct):
    """What a campaign has found.

    Attributes:
        workflow: what was tested.
        steps: records of steps that an undisturbed run makes.
        names: the steps that it calls.
        places: where an undisturbed run may be killed: around commits, behind effects, between changes of files.
        kills: how many runs were killed and resumed.
        seconds: how long that took.
        findings: what is wrong, each kind and place once.
        repeated: effects that came again and may: keyed, repeatable or accepted.
        not_killed: steps that were killed less than twice: the time was over, or the run did not come there again.
        refused: what its lives were kept from, by the step: what comes after it there is not tested.
        unstable: what differs between undisturbed runs, and was not compared.
        enqueued: how many runs of other workflows the undisturbed run leaves in queues; they are not executed.
        ending: how the undisturbed run ends, if not well.
        expected: the same, if it is meant to (`expect_error`).
        at_the_end: the same, if it fails when all is done, by its dead letters (`fail_on_dead=`).
        missing: signals and answers that the undisturbed run waits for, and that are not given.
        clean_ups: clean-ups of the undisturbed run that fail for good, with their errors.
    """

    workflow: str
    steps: int = 0
    names: list[str] = []
    places: int = 0
    kills: int = 0
    seconds: float = 0
    findings: list[Finding] = []
    repeated: list[Repeated] = []
    not_killed: list[str] = []
    refused: list[Refusal] = []
    unstable: list[str] = []
    enqueued: dict[str, int] = {}
    ending: str = ""
    expected: str = ""
    at_the_end: str = ""
    missing: list[str] = []
    clean_ups: list[str] = []

    @property
    def finished(self) -> bool:
        """Was each step killed often enough, nothing refused, and is the undisturbed run, with its clean-ups, done?"""
        return not (self.not_killed or self.refused or self.ending or self.clean_ups)

    def keep(self, finding: Finding) -> None:
        """Add a finding, unless there is one of its kind and place."""
        if self.lacks(finding):
            self.findings.append(finding)

    def kept_from(self, life: Life) -> None:
        """Add what was refused in a life."""
        known = {(each.kind, each.what, each.step) for each in self.refused}
        new = {place: each for each in life.refusals if (place := (each.kind, each.what, each.step)) not in known}
        self.refused = [*self.refused, *new.values()]

    def lacks(self, finding: Finding) -> bool:
        """Is there no finding of its kind and place?"""
        place = (finding.kind, finding.step, finding.at)
        return all((each.kind, each.step, each.at) != place for each in self.findings)


def crashtest(
    target: Target,
    *,
    kills: int = 200,
    seconds: float = 60.0,
    seed: int = 0,
    oracle: str | None = None,
    expect_error: str | None = None,
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
        expect_error: the class of the error that the workflow is meant to raise; each run has to fail with it, and
            to undo the same.
        patience: seconds that one life may take.
        progress: is given a line now and then.

    Raises:
        UsageError: the script has no such workflow, or cannot be started; it does not fail as it is meant to.
    """
    began = time.monotonic()
    report = Report(f"{target.script.name}{':' + target.workflow if target.workflow else ''}")
    with Laboratory(target, patience) as laboratory:
        reference = _undisturbed(laboratory, oracle, expect_error, report)
        if reference is not None:
            names = len(report.names)
            progress(f"undisturbed: {report.steps} step{'s'[: report.steps != 1]}, {names} name{'s'[: names != 1]}")
            for finding in _replay(laboratory, reference, oracle):
                report.keep(finding)
            points = reference.ends[0].life.points
            report.places = len(points)
            plan = _plan(points, kills, seed)
            _Kills(laboratory, reference, oracle, report).carry_out(plan, seconds)
    report.seconds = time.monotonic() - began
    return report


def _undisturbed(
    laboratory: Laboratory, oracle: str | None, expect_error: str | None, report: Report
) -> Reference | None:
    """Two runs that nothing happens to; None if there is nothing to compare with."""
    one = _one_undisturbed(laboratory, oracle)
    life, outcome = one.life, one.life.outcome
    report.kept_from(life)
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
    if expect_error is not None:
        _check_expected(outcome, expect_error)
        report.expected = outcome.error_line
    elif outcome.end == "failed" and outcome.returned:
        report.at_the_end = outcome.error_line
    elif outcome.end == "failed":
        report.ending = outcome.error_line
    report.enqueued = dict(Counter(outcome.queued))
    report.missing, report.clean_ups = outcome.missing, outcome.clean_ups
    saved = [point.step for point in life.points if point.kind == "after-save" and point.step != RUN]
    report.steps, report.names = len(saved), list(dict.fromkeys(saved))
    other = _one_undisturbed(laboratory, oracle)
    report.kept_from(other.life)
    if other.life.outcome is None:
        text = f"undisturbed, it ends once and not the next time: {'stuck' if other.life.stuck else life.last_line}"
        report.keep(Finding("stuck", RUN, text, "see what it waits for, and what it shares with other processes"))
        return None
    return Reference([one, other])


def _check_expected(outcome: Outcome, expect_error: str) -> None:
    if outcome.end == "done":
        raise UsageError(
            f"undisturbed, the workflow does not raise {expect_error}: it ends well",
            "give arguments with which it fails, or leave --expect-error out",
        )
    if not outcome.is_a(expect_error):
        raise UsageError(
            f"undisturbed, the workflow does not raise {expect_error}, but {outcome.error_line}",
            "name the class of that error, or one that it is derived from: --expect-error CLASS",
        )


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
    return Finding("stuck", RUN, text, GIVE_LESS)


def _in_our_words(outcome: Outcome) -> Outcome:
    """Its hint is for this command."""
    hint = outcome.hint.replace("perdure run ", "perdure crashtest ") or "see `perdure crashtest --help`"
    return msgspec.structs.replace(outcome, hint=hint)


def _replay(laboratory: Laboratory, reference: Reference, oracle: str | None) -> list[Finding]:
    """Two lives with the same records, the second in another environment: what they make of them has to be the same."""
    points = reference.ends[0].life.points
    last = next((p for p in reversed(points) if p.kind == "after-save" and p.step != RUN), None)
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
        found = replayed(reference, first, here, there)
    world.remove()
    return found


def _plan(points: Sequence[Point], kills: int, seed: int) -> list[Point]:
    """The points to kill at: in each round one of each step, so that none is left out when the time is over."""
    chance = random.Random(seed)
    queues = []
    for step in dict.fromkeys(point.step for point in points):
        kinds = []
        for kind in ("before-save", "effect", "after-save", "change", "cut"):
            of_kind = [point for point in points if (point.step, point.kind) == (step, kind)]
            chance.shuffle(of_kind)
            kinds.append(of_kind)
        queues.append([point for turn in _turns(kinds) for point in turn])
    return [point for turn in _turns(queues) for point in turn][:kills]


def _turns(queues: Sequence[Sequence[Point]]) -> Iterator[list[Point]]:
    for place in range(max((len(queue) for queue in queues), default=0)):
        yield [queue[place] for queue in queues if place < len(queue)]


class _Kills:
    """Kills runs, resumes them, and compares; for the arguments see `crashtest`."""

    def __init__(self, laboratory: Laboratory, reference: Reference, oracle: str | None, report: Report) -> None:
        self._laboratory = laboratory
        self._reference = reference
        self._oracle = oracle
        self._report = report
        self._harmless: dict[tuple[str, str, str], Repeated] = {}

    def carry_out(self, plan: Sequence[Point], seconds: float) -> None:
        """Kill at each point, until the time is over."""
        until = time.monotonic() + seconds
        late = False
        report = self._report
        left = Counter({step: min(EACH, count) for step, count in Counter(point.step for point in plan).items()})
        for number, point in enumerate(plan, 1):
            if time.monotonic() > until:
                late = True
                break
            if self._kill(point, FIRST if number % FRESH == 0 else None):
                report.kills += 1
                left[point.step] -= 1
        report.repeated = list(self._harmless.values())
        report.unstable = self._reference.unstable()
        report.not_killed = sorted(step or "the run itself" for step, count in left.items() if count > 0)
        if report.not_killed and late:
            text = (
                f"{report.kills} kills in {seconds:g} s; killed less than {EACH} times: {', '.join(report.not_killed)}"
            )
            report.keep(Finding("slow", RUN, text, "give it more time: --time 5m"))

    def _kill(self, point: Point, environment: Mapping[str, str] | None) -> bool:
        """Kill a run at that point, and resume it; False if it does not come there."""
        world = self._laboratory.world()
        first = self._laboratory.live(world, point, environment=environment)
        killed = point in first.points and not first.stuck
        end = _end(world, self._laboratory.live(world, environment=environment), self._oracle) if killed else None
        world.remove()
        self._report.kept_from(first)
        if end is not None:
            self._report.kept_from(end.life)
            self._judge(point, first, end)
        elif first.stuck:
            text = f"it does not come to the point {said(point)}"
            self._report.keep(Finding("stuck", point.step, text, killed=point))
        elif first.outcome is None:
            text = f"its process ends by itself: {first.last_line}"
            self._report.keep(Finding("other-end", point.step, text, "see what it printed", killed=point))
        return killed

    def _judge(self, point: Point, first: Life, end: End) -> None:
        folder = self._laboratory.target.folder
        if end.life.outcome is not None and end.life.outcome.end == "over":  # it had failed when it was killed
            end.life.outcome = msgspec.structs.replace(self._reference.outcome(), kept=end.life.outcome.kept)
        lives = [first, end.life]
        again = repeated(self._reference, lives, point, folder)
        for each in again:
            if each.how == "unsafe":
                self._report.keep(_unsafe(each))
            else:
                self._harmless[each.how, each.effect.step, each.effect.kind] = each
        leave = left_alone(self._reference, again, lives, folder)
        found = [each for each in differences(self._reference, end, point, leave) if self._report.lacks(each)]
        if found and len(self._reference.ends) < 2 + CONTROLS:
            self._reference = self._reference.and_one_more(_one_undisturbed(self._laboratory, self._oracle))
            leave = left_alone(self._reference, again, lives, folder)
            found = differences(self._reference, end, point, leave)
        for finding in found:
            self._report.keep(finding)


def _unsafe(each: Repeated) -> Finding:
    effect = each.effect
    where = effect.step or "the workflow's own code"
    times = "twice" if each.times == 2 else f"{each.times} times"
    text = f"{where}: {effect.what} {_done[effect.kind]} {times}, killed {said(each.killed)}"
    fix = AGAIN.get(effect.kind) or (
        _HARMLESS_TWICE.get(effect.kind, _KEY)
        if effect.step
        else "put it into a step: what stands between steps is done again each time the run is resumed"
    )
    return Finding("unsafe", effect.step, text, fix, effect.at, each.killed)


_KEY = 'send perdure.idempotency_key(), or leave it alone in its step: "# perdure: repeatable REASON"'

_HARMLESS_TWICE = {
    "program": "let it do no harm twice (write a temporary file, os.replace it afterwards), and say so above the call: "
    '"# perdure: repeatable REASON"',
}

_done = {
    "http": "sent",
    "mail": "sent",
    "append": "appended to",
    "program": "started",
    "enqueue": "enqueued",
    "signal": "sent",
    "alert": "sent in another text",
}


def _end(world: World, life: Life, oracle: str | None) -> End:
    lines: list[str] = []
    if oracle is not None and not life.stuck:
        done = subprocess.run(
            oracle, shell=True, cwd=world.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        lines = [*done.stdout.splitlines(), *([f"exit code {done.returncode}"] if done.returncode else [])]
    return End(life, contents(world.folder), lines)
