"""What the workflow of a simulation does: the calls, batches and child runs of its shape."""

from __future__ import annotations

from typing import Any

from shapes import Child, Do, Gather, Handle, Map, Node, Reraise, Sequence
from simulated_disk import ATTEMPTS, Program
from simulated_effects import Performer

from perdure.core.execution.call import item, perform, recheck
from perdure.core.execution.call_end import Failed, Parked, fail
from perdure.core.execution.child_run import child
from perdure.core.execution.drift import settle
from perdure.core.execution.effects import Outcome
from perdure.core.execution.history import History
from perdure.core.execution.identity import identify, identify_by
from perdure.core.execution.map_items import Feed, Job, Tally
from perdure.core.execution.run_effects import Body, Start
from perdure.core.execution.spec import Spec
from perdure.core.policies.retry import Retry
from perdure.core.records import OUTPUT


class Fork:
    """Carry these on side by side, at most `most` at a time; the answer is a list of how each ended: (value, error).

    If it breaks off, the first that ends with Failed leaves (None, None) for those that have not begun.
    """

    def __init__(self, programs: list[Program], most: int, *, breaks: bool = False) -> None:
        self.programs = programs
        self.most = most
        self.breaks = breaks


class Walker:
    """Walks through shapes; what it yields is a Fork or an effect, with the event history of its run."""

    def __init__(self, performer: Performer) -> None:
        self.performer = performer

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
            return Outcome(value, None, self.performer.time, 0.0)
        except Exception as error:
            return Outcome(None, error, self.performer.time, 0.0)

    def walk(self, node: Node, history: History) -> Program:
        match node:
            case Do(name, argument):
                call = identify(spec_of(name), (argument,), {})
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
        call = identify(spec_of(node.name, node.inner), (node.argument,), {})

        def start() -> Start:
            id = f"{history.id}/{node.name}-{call.key.hex()}-{call.n}"
            return Start("script", "script", node.name, call.key, call.input, id, id, parent=history.rid)

        return _value((yield from self.drive(child(call, history, start, lambda id: iter(())), history)))

    def map(self, node: Map, history: History) -> Program:
        spec = spec_of(node.name)
        feed, tally = Feed(history, node.name), Tally()
        jobs: list[Job] = []
        failed: list[tuple[Job, Failed]] = []

        def ended(job: Job, end: Any) -> None:
            if isinstance(end, Failed):
                failed.append((job, end))
            else:
                tally.ended(job.index, end.seq, isinstance(end, Parked), job.seq is not None)

        def begin(job: Job | None) -> Program:
            """What has a record ends at once; what has none is executed when all are drawn."""
            if job is not None and job.seq is not None:
                program = recheck(job.call, history, job.seq, node.park)
                ended(job, (yield from self.drive(program, history)))
            elif job is not None and not failed:
                jobs.append(job)

        def release(exhausted: bool) -> Program:
            while not failed:
                while (job := feed.released()) is not None:
                    yield from begin(job)
                job = feed.waiting(exhausted=exhausted)
                if job is None:
                    return
                yield from self.drive(settle(job.call, history), history)

        for argument in node.items:
            if failed and not history.doubtful(node.name):
                break
            by_key = identify_by(spec, (argument,), {}, f"k{argument}") if node.keyed else None
            yield from begin(feed.offer(by_key or identify(spec, (argument,), {})))
            yield from release(False)
        yield from release(True)
        if not failed:
            programs = [self.drive(item(job.call, history, node.park), history) for job in jobs]
            ends = yield Fork(programs, node.concurrency, breaks=not node.park), history
            for job, (end, error) in zip(jobs, ends, strict=True):
                if error is not None:
                    raise error
                if end is not None:
                    ended(job, end)
        if failed:
            job, end = failed[0]
            if not end.replayed:
                yield from self.drive(fail(job.call, history, end), history)
            raise end.error
        values = [spec.plan.unpack(self.performer.disk.rows[history.rid][seq][OUTPUT]) for seq in tally.results()]
        return [values, len(tally.letters())]


def _value(end: Any) -> Any:
    if isinstance(end, Failed):
        raise end.error
    return end.value


_specs: dict[Any, Spec] = {}
_POLICY = Retry(attempts=ATTEMPTS, jitter=0)


def spec_of(name: str, shape: Node | None = None) -> Spec:
    if shape is None and name in _specs:
        return _specs[name]

    def function(argument):  # type: ignore[no-untyped-def]
        raise AssertionError("it is the world that executes")

    function.shape = shape  # type: ignore[attr-defined]
    spec = Spec("step" if shape is None else "workflow", function, name, retry=_POLICY)
    if shape is None:
        _specs[name] = spec
    return spec
