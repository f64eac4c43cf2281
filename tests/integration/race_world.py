"""Lives of async workflows on a loop whose time is virtual, in processes that die at a chosen moment."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration import race_programs
from tests.integration.race_programs import Life

from conftest import FakeWorld
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.records import StepRecord
from perdure.engines.local import LocalEngine
from perdure.engines.local import engine as local
from perdure.store.group_commit import Journal

logging.getLogger("asyncio").setLevel(logging.CRITICAL)


class Killed(KeyboardInterrupt):
    """The process dies: nothing of it runs any further."""


class _Selector:
    """Lets time pass at once."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        loop.turns += 1
        loop.on_turn()
        if loop.turns == loop.dies_at:
            raise Killed
        if timeout is None:
            loop.woken.wait()
        elif timeout > 0 and not loop.woken.is_set():
            loop.now += timeout
        loop.woken.clear()
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop on which time passes only when nothing else is to be done.

    Args:
        dies_at: the turn that kills the process.
        on_turn: is called in each turn.
    """

    def __init__(self, dies_at: int = 0, on_turn: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.on_turn = on_turn
        self.now = 0.0
        self.turns = 0
        self.dies_at = dies_at
        self.woken = threading.Event()
        self._selector = _Selector(self)

    def __del__(self, *_: object) -> None:
        """A process that dies closes none of its loops; nothing of the system is in this one."""

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        self.woken.set()


_graves: list[Any] = []
"""A coroutine that is collected would run its clean-up, which the dead do not."""


class Deaths:
    """Lives of one program on one state file, each but the last of which ends by a death.

    `schedules` are the traces that were seen.
    """

    def __init__(self, folder: Path) -> None:
        self.state = folder / "races.db"
        self.schedules: set[tuple[str, ...]] = set()
        self.loop: VirtualLoop
        self._boots = 0

    def _boot(self) -> LocalEngine:
        local.close_all()
        world = FakeWorld()
        world._ids = self._boots = self._boots + 1
        engine = local._engines[self.state] = LocalEngine(self.state, world=world)
        return engine

    def forget(self) -> None:
        """Begin with an empty state file."""
        local.close_all()
        for path in self.state.parent.glob("races.db*"):
            if path.is_file():
                path.unlink()

    def live(self, node: list[Any], seed: int, *, commit: int = 0, turn: int = 0) -> tuple[Life, Any]:
        """One life; it dies after that many commits, or turns of the loop.

        Returns:
            The life, and the result of the run: what it has failed with, if it has, or None if it died before.
        """
        engine = self._boot()
        life = race_programs.life = Life(seed, frozenset(self._saved(engine)))
        loop = self.loop = VirtualLoop(turn)
        journal = engine.store.journal
        if commit:
            _die_after(journal, commit)
        asyncio.set_event_loop(loop)
        result = None
        try:
            result = loop.run_until_complete(race_programs.outer(node))
        except Killed:
            pass
        except (ValueError, ExceptionGroup) as error:
            result = error
        finally:
            asyncio.set_event_loop(None)
        _graves.append((loop, asyncio.all_tasks(loop)))
        loop.close()
        self.schedules.add(tuple(f"{run} {each}" for run, trace in life.traces.items() for each in trace))
        return life, result

    def _saved(self, engine: LocalEngine) -> list[str]:
        return [
            idempotency_key(run.id, record.name, record.key, record.n)
            for run in engine.store.runs(children=True)
            for record in engine.store.all_records(run.rid)
            if record.status == "done" and record.kind == "step"
        ]

    @contextmanager
    def records(self) -> Iterator[list[StepRecord]]:
        """The records of the newest run."""
        store = self._boot().store
        yield list(store.all_records(store.runs()[0].rid))

    def ended(self) -> bool:
        """Has the run ended?"""
        return self.status() in ("done", "failed")

    def status(self) -> str | None:
        """How the run has ended, or that it is under way; None if the process died before there was one."""
        runs = self._boot().store.runs()
        return runs[0].status if runs else None

    def durable(self) -> set[tuple[str, str]]:
        """Name and argument of each call whose result is saved."""
        from perdure.core.values import codec

        engine = self._boot()
        return {
            (record.name, str(codec.unpack_inputs(record.input, (), owner=record.name)[0][0]))
            for run in engine.store.runs(children=True)
            for record in engine.store.all_records(run.rid)
            if record.status == "done" and record.kind == "step" and record.name in ("work", "mark", "between")
        }


def _die_after(journal: Journal, commits: int) -> None:
    """Let the process die when that many commits are durable."""
    left = [commits]
    write_all, write_together = journal.write_all, journal.write_together

    def counted(entries: Any) -> None:
        if left[0] <= 0:
            raise Killed
        write_all(entries)
        one_more()

    def counted_together(rows: Any) -> Any:
        if left[0] <= 0:
            raise Killed
        entry = write_together(rows)
        if entry is not None:
            one_more()
        return entry

    def one_more() -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Killed

    journal.write_all = counted  # type: ignore[method-assign]
    journal.write_together = counted_together  # type: ignore[method-assign]


class DeathsOfProcesses(Deaths):
    """The same for sync workflows that run loops themselves: each life is a process, which ends in the middle.

    Args:
        folder: of the state file.
        shape: the workflow.
        virtual: the loops let time pass at once, which they cannot beside threads.
    """

    def __init__(self, folder: Path, shape: Any, *, virtual: bool = True) -> None:
        super().__init__(folder)
        self.shape = shape
        self.virtual = virtual

    def live(self, node: list[Any], seed: int, *, commit: int = 0, turn: int = 0) -> tuple[Life, Any]:
        """One life; it dies after that many commits, or turns of its loops."""
        local.close_all()
        self._boots += 1
        told = self.state.with_name("life")
        pid = os.fork()
        if pid == 0:
            try:
                self._live(node, seed, commit, turn, told)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        life, result = pickle.loads(told.read_bytes())
        self.schedules.add(tuple(f"{run} {each}" for run, trace in life.traces.items() for each in trace))
        return life, result

    def _live(self, node: list[Any], seed: int, commit: int, turn: int, told: Path) -> None:
        engine = self._boot()
        life = race_programs.life = Life(seed, frozenset(self._saved(engine)))

        def die(result: Any = None) -> None:
            with dying:
                told.write_bytes(pickle.dumps((life, result)))
                os._exit(0)

        dying = threading.Lock()
        commits, turns, write = itertools.count(1), itertools.count(1), engine.store.journal._commit

        def counted(batch: Any) -> None:
            write(batch)
            if next(commits) == commit:
                die()

        def counted_turn() -> None:
            if next(turns) == turn:
                die()

        engine.store.journal._commit = counted  # type: ignore[method-assign]
        if self.virtual:
            race_programs.new_loop = lambda: VirtualLoop(on_turn=counted_turn)
        else:
            race_programs.TICK = 0.002
        try:
            die(self.shape(node))
        except (ValueError, ExceptionGroup) as error:
            die(repr(error))


def same_so_far(before: Life, after: Life, durable: set[tuple[str, str]]) -> str | None:
    """Where the second life went another way before the last call that the first one has begun, or had saved before."""
    last = dict.fromkeys(before.traces, -1)
    for call, (run, place) in before.calls.items():
        if call in durable or call in before.acted:
            last[run] = max(last[run], place)
    for run, trace in after.traces.items():  # those of child runs that have ended are not there
        if run in before.left or after.begun[run] > 1:
            continue  # it failed, or would have: the step that has ended it is tried again, and may go another way
        until = last.get(run, -1) + 1
        for place, was in enumerate(before.traces.get(run, [])[:until]):
            if run and place >= len(trace):
                break  # the process died before the child run had come so far again: each run is replayed for itself
            now = trace[place] if place < len(trace) else None
            if was != now:
                return f"{run} {place}: {was!r} became {now!r}"
    return None
