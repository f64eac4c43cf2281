"""An engine in memory: it performs the core's effects in any order of concurrent branches, and dies when it is told to.

Its disk is perfect (what is saved is there), its clock moves only when somebody waits. It watches while it works: a
call that has a record is never executed again, and no series of attempts is longer than the policy says.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from shapes import KINDS, Child, Do, Gather, Handle, Map, Node, Reraise, Sequence

from perdure.core.execution.call import Failed, Parked, fail, item, perform, recheck, settle
from perdure.core.execution.effects import Branch, Execute, Load, Outcome, Save, SaveAttempt, Settle, Wait
from perdure.core.execution.history import History
from perdure.core.execution.identity import identify, identify_by
from perdure.core.execution.map_items import Feed, Job, Tally
from perdure.core.execution.run import (
    Begin,
    Body,
    End,
    Ended,
    Finished,
    Forget,
    Recall,
    Start,
    Taken,
    Unended,
    child,
    live,
)
from perdure.core.execution.spec import Call, Spec
from perdure.core.policies.retry import Retry
from perdure.core.records import INPUT, KIND, RUN, SEQ, Row, RunRecord, StepRecord
from perdure.errors import StopRun

ATTEMPTS = 3
Program = Generator[Any, Any, Any]
Identity = tuple[str, str, bytes, int]
"""Run, name, key and occurrence."""


class Crash(BaseException):
    """The process has died."""


class Disk:
    """What survives: runs, their records, the attempts that failed, and which records are exempt from drift."""

    def __init__(self) -> None:
        self.runs: dict[str, RunRecord] = {}
        self.rows: dict[int, dict[int, Row]] = {}
        self.attempts: list[tuple[int, Any]] = []
        self.exempt: dict[int, list[tuple[int, int]]] = {}

    def run_of(self, rid: int) -> str:
        return next(run.id for run in self.runs.values() if run.rid == rid)

    def records(self) -> dict[Identity, tuple[str, bytes, bytes]]:
        """Status, input and result of every record that is there."""
        found: dict[Identity, tuple[str, bytes, bytes]] = {}
        for rid, rows in self.rows.items():
            for _, _, name, key, n, status, given, output, *_ in rows.values():
                identity = (self.run_of(rid), name, key, n)
                assert identity not in found, f"two records of one call: {identity}"
                found[identity] = (status, given, output if status == "done" else b"")
        return found


class World:
    """What is outside, and does not forget: how steps behave (see `shapes.STEPS`), and how often each was executed."""

    def __init__(self) -> None:
        self.mended = False
        self.executed: Counter[Identity] = Counter()

    def execute(self, identity: Identity, argument: int) -> Any:
        self.executed[identity] += 1
        name = identity[1]
        item, kind = name[0] in "mn", argument % KINDS
        if name == "x" or (name == "h" and not self.mended) or (item and kind == 3):
            raise ConnectionError(f"{name}({argument}) is broken")
        failures = min(kind, ATTEMPTS - 1) if name[0] == "f" else int(item and kind == 2)
        if self.executed[identity] <= failures:
            raise ConnectionError(f"{name}({argument}) is flaky")
        return [name, argument]


class Token:
    """A concurrent branch of a workflow."""

    def __init__(self, program: Program, on_end: Callable[[Any, Exception | None], None]) -> None:
        self.program = program
        self.on_end = on_end
        self.ended = False
        self.answer: Any = None
        self.asked: Settle | None = None
        self.history: History | None = None
        self.joining = 0
        self.reading = False

    def done(self) -> bool:
        return self.ended


class Fork:
    """Carry these on side by side, at most `most` at a time; the answer is a list of how each ended: (value, error)."""

    def __init__(self, programs: list[Program], most: int) -> None:
        self.programs = programs
        self.most = most


class Process:
    """One life of a process: it goes on with a run from what is on the disk.

    Args:
        seed: decides which branch goes on whenever there is a choice.
        dies: the number of the effect at which the process dies, and whether that is after the effect was done.
    """

    def __init__(self, disk: Disk, world: World, seed: int, dies: tuple[int, bool] | None = None) -> None:
        self.disk = disk
        self.world = world
        self.chance = random.Random(seed)
        self.dies = dies
        self.effects = 0
        self.executions = 0
        self.time = 1000.0
        self.branches: list[Token] = []
        self.series: Counter[Identity] = Counter()

    def run(self, shape: Node) -> Any:
        """Go on with the run to its end: Ended or Failed.

        Raises:
            Crash: the process died.
            StopRun: the core refuses to go on.
        """
        call = identify(_spec("main", shape), (0,), {})
        start = Start("script", "script", "main", call.key, call.input, "main")
        ends: list[tuple[Any, Exception | None]] = []
        self.branches = [Token(self.drive(live(call, start), None), lambda *end: ends.append(end))]
        while not ends:
            self.turn()
        value, error = ends[0]
        if error is not None:
            raise error
        return value

    # -- scheduling ---------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One branch goes on as far as its next effect."""
        ready = [branch for branch in self.branches if not branch.joining and not self.must_settle(branch)]
        if not ready:
            ready = [branch for branch in self.branches if branch.asked]  # all have come to rest
        reading = [branch for branch in ready if branch.reading]  # no driver lets others in while it reads a record
        branch = self.chance.choice(reading or ready)
        branch.reading = False
        if branch.asked is not None:
            waiting = [other for other in self.branches if other.asked and other.history is branch.history]
            branch.answer = [other.asked.call for other in waiting if other.asked]
            branch.asked = None
        answer, branch.answer = branch.answer, None
        try:
            asked, history = branch.program.send(answer)
        except StopIteration as end:
            self.finish(branch, end.value, None)
        except Exception as error:
            self.finish(branch, None, error)
        else:
            self.serve(branch, asked, history)

    def must_settle(self, branch: Token) -> bool:
        if branch.asked is None:
            return False
        assert branch.history is not None
        return branch.history.unsettled(branch.asked.call.spec.name)

    def finish(self, branch: Token, value: Any, error: Exception | None) -> None:
        branch.ended = True
        self.branches.remove(branch)
        branch.on_end(value, error)

    def serve(self, branch: Token, asked: Any, history: History | None) -> None:
        if isinstance(asked, Fork):
            self.fork(branch, asked)
            return
        self.effects += 1
        if self.dies == (self.effects, False):
            raise Crash
        if isinstance(asked, Settle):
            branch.asked, branch.history = asked, history
        elif isinstance(asked, Branch):
            branch.answer = None  # as for threads: whoever goes on has moved past the failures of all
        else:
            branch.answer = self.perform(asked, history)
            branch.reading = isinstance(asked, Load)
        if self.dies == (self.effects, True):
            raise Crash

    def fork(self, parent: Token, fork: Fork) -> None:
        ends: list[Any] = [None] * len(fork.programs)
        waiting = list(enumerate(fork.programs))
        parent.joining = len(ends)

        def begin() -> None:
            place, program = waiting.pop(0)

            def on_end(value: Any, error: Exception | None) -> None:
                ends[place] = (value, error)
                parent.joining -= 1
                if waiting:
                    begin()

            self.branches.append(Token(program, on_end))

        parent.answer = ends
        for _ in range(min(fork.most, len(ends))):
            begin()

    # -- effects ------------------------------------------------------------------------------------------------------

    def perform(self, effect: Any, history: History | None) -> Any:
        disk = self.disk
        match effect:
            case Load(seq=seq):
                assert history is not None
                return StepRecord(*disk.rows[history.rid][seq][SEQ:])
            case Execute(call=call):
                assert history is not None
                return self.execute(call, history)
            case Wait(seconds=seconds):
                self.time += seconds
            case Save(rows=rows):
                self.save(rows)
            case SaveAttempt(rid=rid, record=record):
                disk.attempts.append((rid, record))
            case Begin(start=start):
                return self.begin(start)
            case Recall(run=run):
                return self.recall(run)
            case Forget(run=run, seqs=seqs, aftermath=aftermath):
                self.take_back(run.rid, seqs, aftermath)
            case Unended():
                return ()
            case End():
                self.end(effect)
            case _:
                raise AssertionError(effect)
        return None

    def execute(self, call: Call, history: History) -> Outcome:
        identity = (history.id, call.spec.name, call.key, call.n)
        assert identity not in self.disk.records(), f"executed again: {identity}"
        self.executions += 1
        self.check_series(identity, history)
        try:
            return Outcome(self.world.execute(identity, call.args[0]), None, self.time, 0.5)
        except ConnectionError as error:
            return Outcome(None, error, self.time, 0.5)

    def check_series(self, identity: Identity, history: History) -> None:
        """Failed attempts on the disk count, unless an earlier process has used them all up."""
        if identity not in self.series:
            made = [
                record
                for rid, record in self.disk.attempts
                if rid == history.rid
                and (record.name, record.key, record.n) == identity[1:]
                and record.epoch == history.epoch
            ]
            self.series[identity] = len(made) % ATTEMPTS
        self.series[identity] += 1
        assert self.series[identity] <= ATTEMPTS, f"more attempts than the policy allows: {identity}"

    def save(self, rows: tuple[Row, ...]) -> None:
        for row in rows:
            stored = self.disk.rows.setdefault(row[RUN], {})
            assert row[SEQ] not in stored, "two records under one number"
            stored[row[SEQ]] = row

    def begin(self, start: Start) -> Any:
        runs = self.disk.runs
        id = start.id or start.fresh
        if id in runs and runs[id].status == "done":
            return Finished(runs[id])
        resumed = id in runs
        rid = runs[id].rid if resumed else len(runs) + 1
        epoch = runs[id].epoch if resumed else 0
        runs[id] = RunRecord(
            rid, id, "", "", start.workflow, start.key, False, start.parent, "running", None, epoch, start.input, None,
            0.0, 0.0, None, 0,
        )  # fmt: skip
        return Taken(runs[id], resumed)

    def recall(self, run: RunRecord) -> History:
        for identity in [identity for identity in self.series if identity[0] == run.id]:
            del self.series[identity]  # the workflow's function begins anew, and counts what is on the disk
        rows = sorted(self.disk.rows.get(run.rid, {}).values(), key=lambda row: row[SEQ])
        attempts = [
            (record.name, record.key, record.n, record.number, int(record.counted), record.started)
            for rid, record in self.disk.attempts
            if rid == run.rid and record.epoch == run.epoch
        ]
        exempt = self.disk.exempt.get(run.rid, [])
        index = [(*row[SEQ:INPUT], row[KIND]) for row in rows]
        return History(run.rid, run.id, index, attempts, exempt=exempt, epoch=run.epoch)

    def take_back(self, rid: int, seqs: tuple[int, ...], aftermath: tuple[int, int] | None) -> None:
        for seq in seqs:
            del self.disk.rows[rid][seq]
        if aftermath is not None:
            self.disk.exempt.setdefault(rid, []).append(aftermath)

    def end(self, effect: End) -> None:
        run = self.disk.runs[effect.run.id]
        self.save(effect.rows)
        self.take_back(run.rid, effect.forget, effect.aftermath)
        fields = {name: getattr(run, name) for name in run.__struct_fields__}
        fields |= {"status": effect.status, "output": effect.output, "epoch": run.epoch + (effect.status == "failed")}
        self.disk.runs[run.id] = RunRecord(**fields)

    # -- what a workflow does -----------------------------------------------------------------------------------------

    def drive(self, program: Program, history: History | None) -> Program:
        """Hand on what a decision asks; a workflow's function becomes part of the branch that calls it."""
        answer: Any = None
        try:
            while True:
                effect = program.send(answer)
                if isinstance(effect, Body):
                    answer = yield from self.body(effect)
                else:
                    answer = yield effect, history
        except StopIteration as end:
            return end.value

    def body(self, effect: Body) -> Program:
        try:
            value = yield from self.walk(effect.call.spec.fn.shape, effect.history)  # type: ignore[attr-defined]
            return Outcome(value, None, self.time, 0.0)
        except Exception as error:
            return Outcome(None, error, self.time, 0.0)

    def walk(self, node: Node, history: History) -> Program:
        match node:
            case Do(name, argument):
                call = identify(_spec(name), (argument,), {})
                return _value((yield from self.drive(perform(call, history), history)))
            case Sequence(parts):
                return (yield from self.each(parts, history))
            case Gather(parts):
                ends = yield Fork([self.walk(part, history) for part in parts], len(parts) or 1), history
                for _, error in ends:
                    if error is not None:
                        raise error
                return [value for value, _ in ends]
            case Handle(attempt, fallback):
                try:
                    return (yield from self.walk(attempt, history))
                except ConnectionError as error:
                    return [str(error), (yield from self.walk(fallback, history))]
            case Reraise(attempt, cleanup):
                try:
                    return (yield from self.walk(attempt, history))
                except ConnectionError:
                    yield from self.walk(cleanup, history)
                    raise
            case Child():
                return (yield from self.child(node, history))
            case Map():
                return (yield from self.map(node, history))
        raise AssertionError(node)

    def each(self, parts: tuple[Node, ...], history: History) -> Program:
        values: list[Any] = []
        for part in parts:
            value = yield from self.walk(part, history)
            values.append(value)
        return values

    def child(self, node: Child, history: History) -> Program:
        call = identify(_spec(node.name, node.inner), (node.argument,), {})

        def start() -> Start:
            id = f"{history.id}/{node.name}-{call.key.hex()}-{call.n}"
            return Start("script", "script", node.name, call.key, call.input, id, id, parent=history.rid)

        return _value((yield from self.drive(child(call, history, start), history)))

    def map(self, node: Map, history: History) -> Program:
        spec = _spec(node.name)
        feed, tally = Feed(history, node.name), Tally()
        jobs: list[Job] = []

        def release(exhausted: bool) -> Program:
            while True:
                while (job := feed.released()) is not None:
                    jobs.append(job)
                job = feed.waiting(exhausted=exhausted)
                if job is None:
                    return
                yield from self.drive(settle(job.call, history), history)

        for argument in node.items:
            by_key = identify_by(spec, (argument,), {}, f"k{argument}") if node.keyed else None
            job = feed.offer(by_key or identify(spec, (argument,), {}))
            if job is not None:
                jobs.append(job)
            yield from release(False)
        yield from release(True)
        programs = [
            self.drive(
                item(job.call, history, node.park)
                if job.seq is None
                else recheck(job.call, history, job.seq, node.park),
                history,
            )
            for job in jobs
        ]
        ends = yield Fork(programs, node.concurrency), history
        failed = None
        for job, (end, error) in zip(jobs, ends, strict=True):
            if error is not None:
                raise error
            if isinstance(end, Failed):
                failed = failed or (job, end)
            else:
                tally.ended(job.index, end.seq, isinstance(end, Parked), job.seq is not None)
        if failed is not None:
            if not failed[1].replayed:
                yield from self.drive(fail(failed[0].call, history, failed[1]), history)
            raise failed[1].error
        values = [spec.plan.unpack(self.disk.rows[history.rid][seq][7]) for seq in tally.results()]
        return [values, len(tally.letters())]


def _value(end: Any) -> Any:
    if isinstance(end, Failed):
        raise end.error
    return end.value


_specs: dict[Any, Spec] = {}
_POLICY = Retry(attempts=ATTEMPTS, jitter=0)


def _spec(name: str, shape: Node | None = None) -> Spec:
    if shape is None and name in _specs:
        return _specs[name]

    def function(argument):  # type: ignore[no-untyped-def]
        raise AssertionError("it is the world that executes")

    function.shape = shape  # type: ignore[attr-defined]
    spec = Spec("step" if shape is None else "workflow", function, name, retry=_POLICY)
    if shape is None:
        _specs[name] = spec
    return spec


def outcome(disk: Disk, world: World, shape: Node, deaths: list[tuple[int, bool]], seed: int) -> Any:
    """How the run ends after all these deaths: ("done", value) or ("failed", class, arguments)."""
    for place, dies in enumerate([*deaths, None]):
        try:
            end = Process(disk, world, seed + place, dies).run(shape)
        except Crash:
            continue
        except StopRun as stop:
            raise stop.error from None
        return ("done", end.value) if isinstance(end, Ended) else ("failed", type(end.error), end.error.args)
    raise AssertionError("the last process cannot die")
