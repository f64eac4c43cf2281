"""The supervisor: keeps executors going, and wakes them when there is something to do. It has no code of the user's.

No error of the state file ends it: it says so once, and tries again. Each second it looks at the clock, at the files of
the scripts and at the locks of processes that execute something; into the state file only when that has changed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty
from time import time
from types import FrameType

from perdure.config.steady_clock import steady
from perdure.core.durations import show
from perdure.engines.local.worker.broken_scripts import BrokenScripts
from perdure.engines.local.worker.clock import Clock
from perdure.engines.local.worker.deaths import Deaths
from perdure.engines.local.worker.edited_scripts import Edits
from perdure.engines.local.worker.executors import Crew, Member
from perdure.engines.local.worker.messages import (
    Ask,
    Broken,
    Files,
    Here,
    Idle,
    Leave,
    Lines,
    Loaded,
    Retire,
    Suspects,
    Unusable,
)
from perdure.engines.local.worker.notify import Notify
from perdure.engines.local.worker.options import Options
from perdure.engines.local.worker.overdue import Lookout
from perdure.engines.local.worker.sparing import Sparing
from perdure.engines.local.worker.state_access import StateAccess
from perdure.engines.local.worker.waker import Waker
from perdure.store import claims
from perdure.store.bell import Bell
from perdure.store.liveness import Liveness
from perdure.store.runs import Store
from perdure.store.schedule_clock import advance
from perdure.store.workers import Worker, announce, withdraw

TICK = 1.0
"""Seconds between two looks at what rings no bell."""

PATIENCE = 2.0
"""Seconds beyond the grace that an executor has to end, until it is killed."""

ANYWAY = 30.0
"""Seconds until the state file is looked into although nothing has rung."""

HELD = 30.0
"""Seconds in which nothing is begun after the clock has jumped."""

BY_RATE = 60.0
"""Seconds for which `once` waits until the rate of a queue lets its next run begin."""

SILENT = 120.0
"""Seconds without a sign of life until an executor counts as hanging, for the service manager."""


class Supervisor:
    """A worker of one machine.

    Args:
        options: what it serves.
        ready: called when the scripts are loaded for the first time, with what was; returns the line that says so.
        say: called with a line for people, now and then.
        broken: called with a script that cannot be loaded.
    """

    def __init__(
        self,
        options: Options,
        *,
        ready: Callable[[Sequence[Loaded], Store], str],
        say: Callable[[str], None],
        broken: Callable[[Broken], None],
    ) -> None:
        self._options = options
        self._ready, self._say = ready, say
        self._waker = Waker()
        self._crew = Crew(options, say, self._waker)
        self._signals = 0
        self._rung = True
        self._notify = Notify()
        self._clock = Clock()
        self._edits = Edits()
        self._deaths = Deaths(options.state)
        script = options.scripts[0] if options.scripts else ""
        self._lookout = Lookout(options.state, say, script=script, expects_workers=not options.once)
        self._broken = BrokenScripts(broken, self._lookout)
        self._liveness = Liveness(options.state)
        self._began = time()
        self._is_ready = False
        self._clock_held_until = 0.0  # after a jump of the clock no tick is made
        self._next: float | None = None  # when the next run is due, in seconds since the epoch
        self._stale = True  # what is known of the state file
        self._announced: Worker | None = None
        self._bad = 0
        self._lasts = False  # what keeps an executor from going on
        self._say_again = Sparing(say)
        self._settled: list[tuple[int, int]] | None = None  # `once`: what was claimed when it was looked last
        self._looked_at = 0.0
        self._alive_at = 0.0

    # -- from the beginning to the end --------------------------------------------------------------------------------

    def serve(self) -> int:
        """Serve until SIGTERM or SIGINT, or with `once` until nothing is due; returns the exit code.

        Raises:
            StateError: the state file cannot be used, at the beginning.
            OSError: no process can be started.
        """
        options = self._options
        self._store = StateAccess(options.state, self._say)
        bell = Bell(options.state)
        with self._handling_signals():
            try:
                token = self._liveness.show()
                self._crew.serving = [self._crew.start() for _ in range(options.processes)]
                threading.Thread(target=self._hear, args=(bell,), name="perdure-ring", daemon=True).start()
                code = self._work()
                self._leave()
                return code
            finally:
                for member in self._crew.everybody():
                    member.kill()
                    member.close()
                withdraw(options.state, token)
                bell.close()
                self._store.close()
                self._liveness.close()
                self._notify.close()

    def _hear(self, bell: Bell) -> None:
        with bell.listen() as ear:
            while True:
                ear.wait(ANYWAY)
                self._rung = True
                self._waker.set()

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        def end(signum: int, frame: FrameType | None) -> None:
            self._signals += 1
            self._waker.set()

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _work(self) -> int:
        while not self._signals:
            self._take_messages()
            self._crew.reap()
            if self._fails():
                return 1
            if self._options.once and self._done():
                return 1 if self._bad or any(one.loaded and one.loaded.broken for one in self._crew.serving) else 0
            self._crew.replace()
            self._look_at_files()
            self._look_at_runs()
            self._give_signs_of_life()
            self._announce()
            self._waker.wait(self._seconds())
        return 0

    def _seconds(self) -> float:
        """How long to sleep."""
        left = TICK
        if self._next is not None and self._store.usable:
            left = min(left, self._next - time())
        return max(left, 0.0)

    def _fails(self) -> bool:
        """At the beginning: is there nothing that could be served? With `once`: can the state file not be used?"""
        if self._options.once and (self._lasts or self._store.lasts):
            return True
        if self._is_ready or not self._crew.serving or any(one.loaded is None for one in self._crew.serving):
            return False
        return all(
            one.loaded is not None and one.loaded.broken and not one.loaded.workflows for one in self._crew.serving
        )

    def _done(self) -> bool:
        if not self._is_ready or self._stale or self._rung or self._crew.has_apart() or not self._crew.serving:
            return False
        if not all(one.idle for one in self._crew.serving) or steady() < self._clock_held_until:
            return False
        claimed = [(one.pid, one.claims) for one in self._crew.serving]
        if claimed == self._settled:
            return self._store.use(self._waits_for_no_rate) is True
        # The end of a run may have made another one due: it is over when a look after the last one finds nothing.
        self._looked_at = time()
        self._stale = self._store.use(self._refresh) is None
        self._settled = None if self._stale else claimed
        for one in self._crew.serving:
            one.look()
        return False

    def _waits_for_no_rate(self, store: Store) -> bool:
        """Is no queued run left that begins soon, as the rate of its queue has it?"""
        served = {(one.script, one.name) for each in self._crew.serving if each.loaded for one in each.loaded.workflows}
        later = claims.next_by_rate(store, self._looked_at, served, self._options.queues)
        soon = [one for one in later if one.moment - self._looked_at <= BY_RATE]
        if soon:
            self._settled = None
            self._next = min(one.moment for one in soon)
            return False
        for one in later:
            wait = show(one.moment - self._looked_at)
            self._say(
                f"queue {one.queue!r} begins its next run in {wait}, by its rate: that is left to the next worker"
            )
        return True

    def _leave(self) -> None:
        """End all executors: runs are given back at their next safe point, or end if that is soon."""
        self._notify.stopping()
        asked, grace = self._signals, self._options.grace
        for member in self._crew.everybody():
            member.tell(Leave(grace))
        until = steady() + grace + PATIENCE
        while self._crew.everybody() and steady() < until and self._signals in (asked, 0):
            self._waker.wait(TICK)
            self._take_messages()
            self._crew.reap(leaving=True)
            self._notify.alive()

    # -- executors ----------------------------------------------------------------------------------------------------

    def _take_messages(self) -> None:
        with suppress(Empty):
            while True:
                member, message = self._crew.messages.get_nowait()
                match message:
                    case Loaded():
                        member.has_loaded(message)
                        self._loaded(member)
                    case Files() if member in self._crew.serving:
                        self._edits.watch(message.files)
                    case Idle():
                        member.idle = message.serial == member.looks
                        member.claims = message.claims
                        self._bad = max(self._bad, message.bad)
                    case Suspects():
                        self._crew.start_suspects(message.count)
                    case Lines():
                        self._crew.want(message.lines)
                    case Here():
                        member.asked_at = None
                    case Unusable():
                        member.cannot_go_on()
                        self._lasts = message.lasts
                        self._say_again(f"an executor cannot go on: {message.why}")

    def _loaded(self, member: Member) -> None:
        loaded = member.loaded
        assert loaded is not None
        if member in self._crew.serving:
            self._edits.watch(loaded.files)
            if not self._is_ready:
                if all(one.loaded is not None for one in self._crew.serving):
                    self._begin()
            else:
                member.look(dead=True)
        elif member.line is not None:
            for broken in loaded.broken:
                self._say(f"runs are on hold until the script is edited: {broken.why}")
                self._bad = max(self._bad, 1)
        elif member in self._crew.coming and all(one.loaded is not None for one in self._crew.coming):
            self._adopt()

    def _begin(self) -> None:
        """All is loaded for the first time."""
        loaded = [one.loaded for one in self._crew.serving if one.loaded is not None]
        for broken in loaded[0].broken:
            self._broken.say(broken)
            self._alert_broken(broken, serves=False)
        if self._fails():
            self._say("nothing that it was given can be loaded: the worker ends")
            return
        self._is_ready = self._stale = True
        line = self._store.use(lambda store: self._ready(loaded, store)) or "ready"
        self._announce()
        self._say(line)
        self._notify.ready(line)

    def _adopt(self) -> None:
        """The edited scripts are loaded: runs that start from now on are theirs, unless they lack what is served."""
        coming, self._crew.coming = self._crew.coming, []
        first, before = coming[0].loaded, self._crew.serving[0].loaded if self._crew.serving else None
        assert first is not None
        lost = [one for one in first.broken if before is None or one.path not in {old.path for old in before.broken}]
        for broken in first.broken:
            self._broken.say(broken)
            self._alert_broken(broken, serves=broken in lost and before is not None)
        for one in coming:
            self._edits.watch(one.loaded.files if one.loaded is not None else {})
        if lost and before is not None:
            self._say("the worker goes on with the code of before")
            leaving = coming
        else:
            leaving, self._crew.serving = self._crew.serving, coming
        for one in leaving:
            one.retired = True
            one.tell(Retire())
            self._crew.retired.append(one)
        if leaving is not coming:
            self._crew.edited()
            names = sorted({os.path.basename(found.path) for found in first.workflows})
            self._say(f"loaded anew: {', '.join(names)}; runs that are under way end with the code of before")

    def _alert_broken(self, broken: Broken, *, serves: bool) -> None:
        loaded = [one.loaded for one in self._crew.everybody() if one.loaded is not None]
        self._broken.alert(broken, loaded, serves=serves)

    # -- what there is to do ------------------------------------------------------------------------------------------

    def _look_at_files(self) -> None:
        if self._options.once or not self._is_ready:
            return
        edited = self._edits.look()
        if not edited:
            return
        for one in self._crew.coming:  # they load what is not there any more
            one.kill()
            self._crew.retired.append(one)
        self._edits.accept()
        try:
            self._crew.coming = [self._crew.start() for _ in range(self._options.processes)]
        except OSError as error:
            self._say(f"no executor can be started: {error}")

    def _look_at_runs(self) -> None:
        jump = self._clock.look()
        if jump is not None:
            self._say(f"clock-jump: the clock was set by {jump:+.0f} s; nothing is begun for {HELD:.0f} s")
            self._crew.pause(HELD)
            self._clock_held_until = steady() + HELD
        rung, self._rung = self._rung or self._stale, False
        now = time()
        due = self._next is not None and self._next <= now
        if rung or due or self._stale:
            self._stale = self._store.use(self._refresh) is None
        dead = bool(self._store.use(lambda _: self._deaths.look(steady())))
        if self._is_ready and (rung or due or dead):
            for one in self._crew.serving:
                one.look(dead=dead)
        if self._is_ready:
            self._store.use(self._lookout.look)

    def _refresh(self, store: Store) -> bool:
        self._deaths.refresh(store)
        now = time()
        following = claims.next_moment(store, now)
        if self._is_ready:  # before, its scripts have not said which schedules they declare
            ticks = advance(store, now) if steady() >= self._clock_held_until else now + TICK
            if ticks is not None:
                following = ticks if following is None else min(following, ticks)
        self._next = following
        return True

    # -- what others are told -----------------------------------------------------------------------------------------

    def _give_signs_of_life(self) -> None:
        self._notify.again()
        every = self._notify.every
        now = steady()
        if every is None or now - self._alive_at < min(every, 10.0):
            return
        self._alive_at = now
        for one in self._crew.serving:
            if one.asked_at is None:
                one.asked_at = now
                one.tell(Ask())
        if all(one.asked_at is None or now - one.asked_at < SILENT for one in self._crew.serving):
            self._notify.alive()

    def _announce(self) -> None:
        loaded = [one.loaded for one in self._crew.serving if one.loaded is not None]
        workflows = sorted({(found.script, found.name) for one in loaded for found in one.workflows})
        worker = Worker(
            pid=os.getpid(),
            started=self._began,
            scripts=list(self._options.scripts),
            workflows=workflows,
            locks=sorted({(one.script, one.name, one.lock) for each in loaded for one in each.workflows if one.lock}),
            queues=list(self._options.queues),
            slots=self._options.slots,
            executors=[one.token for one in loaded],
            ready=self._is_ready,
        )
        if worker != self._announced:
            try:
                announce(self._options.state, self._liveness.token, worker)
            except OSError:
                return  # tried again at the next tick
            self._announced = worker
