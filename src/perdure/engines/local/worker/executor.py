"""An executor: a process that has loaded the scripts, claims runs and executes them; the argument is a socket.

One run at a time is executed on the main thread, where the timeout of a workflow can interrupt its own code; of
several, each is executed on a thread of its own, and an async one in a loop of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from perdure.config import settings
from perdure.config.command_line import of_run, own_program
from perdure.config.kept_command_line import CommandLine
from perdure.config.script_loader import is_at_end
from perdure.config.settings import LOCAL
from perdure.config.stderr_line import say
from perdure.config.steady_clock import steady
from perdure.core.execution.run_effects import Taken
from perdure.core.redaction.printable import one_line
from perdure.engines.local import LocalEngine, engine_at
from perdure.engines.local.closing import Closing
from perdure.engines.local.queues import declare_queues
from perdure.engines.local.schedules import declare_loaded
from perdure.engines.local.worker.back_off import back_off
from perdure.engines.local.worker.left_runs import LeftRuns, first_line
from perdure.engines.local.worker.loaded_scripts import Program, load_ahead
from perdure.engines.local.worker.messages import (
    Ask,
    Files,
    FromSupervisor,
    Here,
    Idle,
    Leave,
    Lines,
    Loaded,
    Look,
    Message,
    Orders,
    Pause,
    Retire,
    Suspects,
    Unusable,
    of_supervisor,
    send,
)
from perdure.engines.local.worker.options import GRACE
from perdure.engines.local.worker.runs_without_workflow import RunsWithoutWorkflow
from perdure.engines.local.worker.slots import Slots
from perdure.engines.local.worker.sparing import Sparing
from perdure.engines.local.worker.waker import Waker
from perdure.engines.observers.attach import observers_of
from perdure.engines.observers.fanout import FanOut
from perdure.errors import (
    NotStorable,
    OptionError,
    PerdureError,
    StateBusy,
    StateCorrupt,
    StateError,
    StateIO,
    StateReplaced,
)
from perdure.store import claims, command_lines, crashes, runs_on_hold
from perdure.store.group_commit import Entry

YOUNG = 10_000
"""Objects after which is looked for garbage: those of the runs under way are not gone through again and again."""
OFTEN = 1.0
"""Seconds after which the clock is looked at again, in case it is set, where a run is to begin at a moment."""


class Executor:
    """Claims runs and executes them.

    Args:
        link: to the supervisor.
        orders: what it is for.
    """

    def __init__(self, link: socket.socket, orders: Orders) -> None:
        self._link = link
        self._orders = orders
        self._state = Path(orders.state)
        self._waker = Waker()
        self._slots = Slots(orders.slots, self._carry, self._left_by, self._changed, self._waker)
        self._crashed: list[claims.Executed] = []  # what the claim under way may take from dead processes
        self._served: claims.Served = {}
        self._line: bytes | None = None  # that of the runs it executes, packed; empty: none; None: it does not matter
        self._look = self._dead = True
        self._paused_until = steady() + orders.pause
        self._failed = 0  # claims in a row
        self._say_again = Sparing(self._say)
        self._later: float | None = None  # when a queue lets its next run begin, in seconds since the epoch
        self._retired = False
        self._left: float | None = None  # when the process is to be over
        self._bad = self._claims = 0
        self._serial = 0
        self._said: set[str] = set()
        self._program: Program | None = None
        self._engine: LocalEngine | None = None
        self._left_runs: LeftRuns | None = None
        self._without_workflow: RunsWithoutWorkflow | None = None

    # -- what the supervisor says, on a thread of its own -------------------------------------------------------------

    def listen(self, messages: Iterator[FromSupervisor]) -> None:
        """Hear the supervisor, until it has gone."""
        for message in messages:
            match message:
                case Look():
                    self._dead = self._dead or message.dead
                    self._serial = message.serial
                    self._look = True
                case Pause():
                    self._paused_until = max(self._paused_until, steady() + message.seconds)
                case Retire():
                    self._retired = True
                case Leave():
                    self.leave(message.grace)
                case Ask():
                    self._tell(Here())
                    continue
                case Orders():
                    continue
            self._waker.set()
        alone = self._left is None and not self._retired
        self.leave(GRACE)
        if alone:
            self._say("the supervisor of this worker is gone")

    def leave(self, grace: float) -> None:
        """Give the runs back, and end within so many seconds; the soonest counts."""
        at = steady() + grace
        if self._left is not None and at >= self._left:
            return
        self._left = at
        if self._engine is not None:
            self._engine.leave()
        # Scripts that are still being loaded are not waited for.
        timer = threading.Timer(grace if self._engine is not None else 0.0, self._abandon)
        timer.daemon = True
        timer.start()
        self._waker.set()
        if self._slots.active:
            runs = "1 run is" if len(self._slots.active) == 1 else f"{len(self._slots.active):,} runs are"
            self._say(f"{runs} given back at the next safe point")

    def _abandon(self) -> None:
        """The time is over: what is in flight is executed again elsewhere."""
        if self._engine is not None:
            self._engine.resources.monitor.leave()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(0)

    def _tell(self, message: Message) -> None:
        send(self._link, message)

    # -- the main thread ----------------------------------------------------------------------------------------------

    def serve(self) -> int:
        """Load the scripts and execute runs, until the supervisor says that it is enough; returns the exit code."""
        orders = self._orders
        line = None if orders.line is None else CommandLine.unpacked(orders.line)
        program = self._program = Program(self._state, orders.scripts, orders.modules, orders.folder, line)
        self._line = orders.line if orders.line is not None else b"" if program.looks else None
        self._served = program.served
        try:
            engine = self._engine = engine_at(self._state)
            self._left_runs = LeftRuns(engine, program, self._state, self._say, self._ends_for)
            self._without_workflow = RunsWithoutWorkflow(engine, program, orders.line, self._say)
            found = dict.fromkeys(
                each for path in {offer.path for offer in program.served.values()} for each in observers_of(path)
            )
            engine.observer = (
                FanOut(*found, shows=True) if found else None
            )  # without one, a replay asks nothing of each record
            engine.resources.suspend_after = 0.0
            engine.resources.gives_back = True
            engine.store.journal.write((), lambda connection: engine.store.holder.hid(connection, engine.world.now()))
            declare_queues(engine.store, engine.world.now())
            if orders.line is None:
                for script in {script for script, _ in program.served}:
                    runs_on_hold.try_again(engine.store, script, program.version())
                self._declare_schedules(engine, program)
        except PerdureError as error:
            self._tell(_unusable(error))
            return 1
        load_ahead()
        gc.freeze()  # what is loaded stays: looks for garbage while runs are executed leave it out
        gc.set_threshold(max(gc.get_threshold()[0], YOUNG), *gc.get_threshold()[1:])
        self._tell(Loaded(program.found(), program.broken, program.all_files(), engine.store.holder.token))
        while self._left is None:
            self._work(engine, program)
            rests = (orders.suspects or orders.line is not None) and not self._look
            if (self._retired or rests) and not self._slots.active:
                return 0
            if self._left is None:
                self._waker.wait(self._seconds())
        while self._slots.active:
            self._work(engine, program)  # the ends of what is over
            if self._slots.active:
                self._waker.wait()
        return 0

    def _declare_schedules(self, engine: LocalEngine, program: Program) -> None:
        """Write what the scripts declare; of those that cannot be loaded to their end, everything stays as it was."""
        broken = {one.path for one in program.broken}
        whole = [path for path in self._orders.scripts if os.path.abspath(path) not in broken]
        workflows = [spec for spec in program.workflows if os.path.abspath(spec.file) not in broken]
        try:
            declare_loaded(engine.store, workflows, engine.world.now(), whole)
        except (OptionError, NotStorable) as error:
            self._say(f"a schedule is not declared: {error}")

    def _seconds(self) -> float | None:
        """How long to sleep; what is to be done may have to wait for the clock."""
        left = self._paused_until - steady()
        if left > 0 and self._look:
            return left
        assert self._engine is not None
        return None if self._later is None else min(max(self._later - self._engine.world.now(), 0.0), OFTEN)

    def _is_later(self, engine: LocalEngine) -> bool:
        """Has the moment come at which the rate of a queue lets its next run begin?"""
        return self._later is not None and engine.world.now() >= self._later

    def _work(self, engine: LocalEngine, program: Program) -> None:
        """Write the ends of what is over and claim what is next, in one transaction, as long as there is either."""
        serial = self._serial  # before the look itself
        if self._is_later(engine):
            self._look, self._later = True, None
        while True:
            over = self._slots.take_over()
            engine.store.claims_next = not (self._retired or self._line or self._orders.suspects) and self._left is None
            free = self._slots.number - len(self._slots.active) + sum(one.closing.plain for one in over)
            claim = self._claim(engine, program, free) if free > 0 and self._looks() else None
            if not over and claim is None:
                break
            entries = [one.closing.entry for one in over]
            if claim is not None:
                entries.append(claim)
            engine.store.journal.write_all(entries)
            for one in over:
                self._slots.finish(one)
            if claim is not None:
                self._claimed(claim, free)
        files = program.files()
        if files is not None:
            self._tell(Files(files))
        if self._orders.once and not self._look and not self._slots.active and not self._retired:
            self._tell(Idle(self._bad, serial, self._claims))

    def _looks(self) -> bool:
        """May there be something to claim, and is it to be claimed now?"""
        return self._left is None and not self._retired and self._look and steady() >= self._paused_until

    def _claimed(self, claim: Entry, free: int) -> None:
        try:
            taken: list[Taken] = claim.outcome()
        except StateError as error:
            self._cannot_go_on(error)
            return
        if self._failed:
            self._failed = 0
            self._say("the state file can be used again")
        if taken:
            self._claims += len(taken)
            self._look = True  # there may be more
        if self._crashed and len(taken) == free:
            self._dead = True  # more may be left than there are slots
        for one in taken:
            self._slots.start(one)
        if isinstance(claim.operation, claims.Claim):
            self._tell_lines(claim.operation.elsewhere)
            self._later = claim.operation.later

    def _tell_lines(self, lines: Collection[bytes]) -> None:
        """There are runs of other command lines than this process has loaded the scripts with."""
        if lines and self._orders.line is None:
            self._tell(Lines(sorted(lines)))

    def _claim(self, engine: LocalEngine, program: Program, free: int) -> Entry | None:
        """What claims so many runs, to be committed; None if the state file cannot be used now."""
        self._look = False
        try:
            return Entry((), self._claiming(engine, program, free))
        except StateError as error:
            self._cannot_go_on(error)
            return None

    def _claiming(self, engine: LocalEngine, program: Program, free: int) -> claims.Claim:
        now, store = engine.world.now(), engine.store
        alone = self._orders.suspects
        self._crashed = []
        if self._dead:
            self._dead = False
            left = claims.left_by_dead(store, self._served)
            if left and self._line is not None:
                lines = claims.lines_of(store, [one.rid for one in left])
                self._tell_lines({lines[one.rid] for one in left} - {self._line})
                left = [one for one in left if lines[one.rid] == self._line]
            if left:
                engine.resources.monitor.look_back(program.spec(left[0].script, left[0].workflow))
            apart = self._orders.line is not None  # it executes what no other process can
            suspects = [one for one in left if not apart and self._is_suspect(engine, program, one)]
            if suspects and not alone:
                self._tell(Suspects(len(suspects)))
            self._crashed = suspects if alone else [one for one in left if one not in suspects]
        assert self._without_workflow is not None
        self._bad += self._without_workflow.hold(now)
        queues = self._orders.queues
        return claims.Claim(
            store, self._served, free, now, crashed=self._crashed, queues=queues, others=not alone, line=self._line
        )

    def _is_suspect(self, engine: LocalEngine, program: Program, left: claims.Executed) -> bool:
        """Would one more death make it a crash loop? Then no other run dies with it, and it with no other."""
        limit = settings.crash_limit(program.spec(left.script, left.workflow).file)
        return crashes.deaths_in_a_row(engine.store, left.rid) >= max(limit - 1, 1)

    def _cannot_go_on(self, error: StateError) -> None:
        lasts = self._orders.once and not isinstance(error, StateBusy)
        if lasts or isinstance(error, StateIO | StateCorrupt | StateReplaced):  # nothing more is written from here
            self._ends_for(error)
            return
        self._say_again(f"{first_line(error)}; {error.hint}")
        self._look = self._dead = True
        self._failed += 1
        self._paused_until = max(self._paused_until, steady() + back_off(self._failed))

    def _ends_for(self, error: StateError) -> None:
        self._tell(_unusable(error))
        self.leave(GRACE)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._look = True

    def _left_by(self, taken: Taken, error: BaseException) -> None:
        assert self._left_runs is not None
        self._bad += self._left_runs.left(taken, error)

    def _carry(self, taken: Taken) -> Closing:
        engine, program = self._engine, self._program
        assert engine is not None
        assert program is not None
        run = taken.run
        spec = program.spec(run.script, run.workflow)
        try:
            call = program.call(run)
        except PerdureError as error:
            engine.resources.monitor.held(run, spec.file, spec.rules.alerts, error)
            raise
        if self._line is not None or not taken.resumed:  # a run that was queued has no command line
            return engine.carry_on(call, taken)
        line = engine.store.journal.read(lambda connection: command_lines.get(connection, run.rid, self._state))
        with of_run(line):
            return engine.carry_on(call, taken)

    def _say(self, text: str) -> None:
        say(f"perdure: {one_line(text)}")


def _unusable(error: PerdureError) -> Unusable:
    return Unusable(one_line(f"{first_line(error)}; {error.hint}"), lasts=not isinstance(error, StateBusy))


def main() -> int:
    """Serve the supervisor at the other end of the socket whose number is the argument."""
    descriptor = int(own_program()[0])
    os.set_inheritable(descriptor, False)
    link = socket.socket(fileno=descriptor)
    messages = of_supervisor(link)
    orders = next(messages, None)
    if not isinstance(orders, Orders):
        return 1
    os.environ["PERDURE_ENGINE"] = LOCAL
    executor = Executor(link, orders)

    asked = Waker()

    def heed() -> None:  # a thread of its own: what leaving takes must not happen inside a signal handler
        asked.wait()
        executor.leave(GRACE)

    def end(signum: int, frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=heed, name="perdure-sigterm", daemon=True).start()
    signal.signal(signal.SIGINT, lambda signum, frame: None)  # Ctrl-C is the supervisor's to act on
    threading.Thread(target=executor.listen, args=(messages,), name="perdure-link", daemon=True).start()
    code = executor.serve()
    is_at_end()
    return code


if __name__ == "__main__":
    sys.exit(main())
