"""An engine in memory: it performs the core's effects in any order of concurrent branches, and dies where a test says.

Its disk is perfect (what is saved is there), its clock moves only when a run waits. It watches while it works: a
call that has a record is never executed again, and no series of attempts is longer than the policy says.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from shapes import Node
from simulated_disk import Crash, Disk, Program, World
from simulated_effects import Performer
from simulated_workflows import Fork, Walker, spec_of

from perdure.core.execution.call_end import Failed
from perdure.core.execution.effects import Load, Settle
from perdure.core.execution.history import History
from perdure.core.execution.identity import identify
from perdure.core.execution.run import Ended, live
from perdure.core.execution.run_effects import Start
from perdure.errors import StopRun


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


class Process:
    """One life of a process: it goes on with a run from what is on the disk.

    Args:
        seed: decides which branch goes on whenever there is a choice.
        dies: the number of the effect at which the process dies, and whether that is after the effect was done.
    """

    def __init__(self, disk: Disk, world: World, seed: int, dies: tuple[int, bool] | None = None) -> None:
        self.performer = Performer(disk, world)
        self.walker = Walker(self.performer)
        self.chance = random.Random(seed)
        self.dies = dies
        self.effects = 0
        self.branches: list[Token] = []

    def run(self, shape: Node) -> Any:
        """Go on with the run to its end: Ended or Failed.

        Raises:
            Crash: the process died.
            StopRun: the core refuses to go on.
        """
        call = identify(spec_of("main", shape), (0,), {})
        start = Start("script", "script", "main", call.key, call.input, "main")
        ends: list[tuple[Any, Exception | None]] = []
        self.branches = [Token(self.walker.drive(live(call, start), None), lambda *end: ends.append(end))]
        while not ends:
            self.turn()
        value, error = ends[0]
        if error is not None:
            raise error
        return value

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
        else:
            branch.answer = self.performer.perform(asked, history)
            branch.reading = isinstance(asked, Load)
        if self.dies == (self.effects, True):
            raise Crash

    def fork(self, parent: Token, fork: Fork) -> None:
        ends: list[Any] = [(None, None)] * len(fork.programs)
        waiting = list(enumerate(fork.programs))
        parent.joining = len(ends)

        def begin() -> None:
            place, program = waiting.pop(0)

            def on_end(value: Any, error: Exception | None) -> None:
                ends[place] = (value, error)
                parent.joining -= 1
                if fork.breaks and isinstance(value, Failed):
                    parent.joining -= len(waiting)
                    waiting.clear()
                if waiting:
                    begin()

            self.branches.append(Token(program, on_end))

        parent.answer = ends
        for _ in range(min(fork.most, len(ends))):
            begin()


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
