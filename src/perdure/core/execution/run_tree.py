"""What the runs of one tree have completed: an edit may have moved a call from one of them into another.

A call is found again in the run that made it. Where the script has changed, and a run of the tree is about to execute
a step that another one has completed with the same inputs, the call may be that one, moved. Whether it is cannot be
seen in the records alone, since two workflows may well make the same call; the code of the workflows decides with them.
docs/decisions/0058-calls-moved-between-runs.md says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

from perdure.core.execution.inputs import look_as_always
from perdure.core.execution.moved_call import Moved, TreeRun
from perdure.core.execution.record_matching import Claims
from perdure.core.execution.recorded_inputs import InputsOfBefore
from perdure.core.execution.spec import Call
from perdure.core.records import RESERVED


class _State(Enum):
    """What this life knows of a completed call of another run."""

    MADE = auto()
    """It was made again there, and is another call."""
    INSIDE = auto()
    """It is in a child run that is done, and that the script still calls: its function is not executed again."""
    OPEN = auto()
    """It was not made again so far."""
    OVER = auto()
    """It was not made again, and cannot be any more."""


class _Life(NamedTuple):
    history: Claims
    alone: Callable[[], bool]


class RunTree:
    """The runs of one tree, in a life that has begun with an edited script.

    Args:
        root: the run that is no child.
        runs: the root and all its child runs, as they were when this life began.
        records: the completed calls of the child runs: number of run and record, by name and key of the call.
        changed: was the function of the workflow of that name edited since the tree began, or is it new, or gone?
        called: did the function of a workflow (its name first) name another workflow in all earlier lives?
        inputs: of the records.
    """

    def __init__(
        self,
        root: TreeRun,
        runs: Iterable[TreeRun],
        records: dict[tuple[str, bytes], list[tuple[int, int]]],
        changed: Callable[[str], bool],
        called: Callable[[str, str], bool],
        inputs: InputsOfBefore,
    ) -> None:
        self._root = root
        self._inputs = inputs
        self._runs = {one.rid: one for one in runs} | {root.rid: root}
        self._earlier = frozenset(self._runs)
        self._records = records
        self._changed = changed
        self._called = called
        self._lives: dict[int, _Life] = {}
        self._over: set[int] = set()

    def enter(self, run: TreeRun, history: Claims, alone: Callable[[], bool]) -> None:
        """The function of a run begins.

        Args:
            run: which.
            history: its records, which are asked for what is moved from here on.
            alone: is there one branch in the run, so that what it does next is all that the run does next?
        """
        self._runs.setdefault(run.rid, run)
        self._over.discard(run.rid)
        self._lives[run.rid] = _Life(history, alone)
        history.elsewhere = partial(self.moved, run.rid)

    def leave(self, rid: int) -> None:
        """The function of a run is over."""
        if rid in self._earlier:
            self._over.add(rid)
        else:
            self._lives.pop(rid, None)
            self._runs.pop(rid, None)

    def left(self, rid: int, workflow: str, key: bytes) -> str | None:
        """The id of a child run that has completed calls, and that the run has not called in this life.

        Args:
            rid: the number of the run.
            workflow: the name of the workflow that the child run is of.
            key: of its inputs.
        """
        life = self._lives.get(rid)
        if life is None or life.history.was_called(workflow, key):
            return None
        done = {number for records in self._records.values() for number, _ in records}
        found = (self._runs[number] for number in self._earlier & done)
        return next((one.id for one in found if (one.parent, one.workflow, one.key) == (rid, workflow, key)), None)

    def moved(self, here: int, call: Call) -> Moved | None:
        """The completed call that a run is about to make anew, since an edit has moved it there.

        Args:
            here: the number of the run.
            call: which.
        """
        name = call.spec.name
        if name.startswith(RESERVED):
            return None
        for rid, seq, key in self._candidates(call):
            if rid != here and self._is_moved(self._runs[rid], self._runs[here], name, key, seq):
                return Moved(self._runs[rid], self._runs[here], seq, self._root.id)
        return None

    def _candidates(self, call: Call) -> Iterator[tuple[int, int, bytes]]:
        """The completed calls of that name with the same inputs: run, number and key."""
        name, key = call.spec.name, call.key
        life = self._lives.get(self._root.rid)
        seq = None if life is None else life.history.open_record(name, key)
        if seq is not None:
            yield self._root.rid, seq, key
        for rid, number in self._records.get((name, key), ()):
            yield rid, number, key
        if not look_as_always(call.spec.signature, call.args, call.kwargs):
            if life is not None and life.history.doubtful(name):
                for record in life.history.grown(name, call):
                    yield self._root.rid, record.seq, record.key
            for rid, record in self._inputs.find(call, ("tree", name), lambda: self._named(name)):
                yield rid, record.seq, record.key

    def _named(self, name: str) -> Iterator[tuple[int, int]]:
        return (place for (one, _), places in self._records.items() if one == name for place in places)

    def _is_moved(self, old: TreeRun, new: TreeRun, name: str, key: bytes, seq: int) -> bool:
        state = self._state(old, name, key, seq)
        if state is _State.MADE:
            return False
        alike = old.workflow == new.workflow
        if alike and old.key != new.key and (state is not _State.OPEN or old.rid in self._lives):
            return False  # runs of one workflow may all make the same calls
        above, common = self._below_common(old, new)
        beside, _ = self._below_common(new, old)
        before = {one.workflow for one in above} or {old.workflow}
        now = {one.workflow for one in beside} or {new.workflow}
        if state is _State.OVER or (state is _State.OPEN and self._is_sequential(new)):
            if self._changed(common.workflow):
                # It is not made where it was. Is it made where it was not?
                if alike or not beside or any(map(self._changed, now)):
                    return True
                return not self._called(common.workflow, beside[-1].workflow)
        elif alike:
            return False
        # Both places were edited: the one that has lost the call, and the one that has it now.
        return any(map(self._changed, before - now)) and any(map(self._changed, now - before))

    def _below_common(self, one: TreeRun, other: TreeRun) -> tuple[list[TreeRun], TreeRun]:
        """A run and those above it, below the nearest one that both are or descend from; and that one."""
        line = {each.rid for each in self._line(other)}
        found: list[TreeRun] = []
        for each in self._line(one):
            if each.rid in line:
                return found, each
            found.append(each)
        return found, self._root

    def _line(self, run: TreeRun) -> Iterator[TreeRun]:
        at: TreeRun | None = run
        while at is not None:
            yield at
            at = None if at.parent is None else self._runs.get(at.parent)

    def _state(self, run: TreeRun, name: str, key: bytes, seq: int) -> _State:
        life = self._lives.get(run.rid)
        if life is not None:
            if not life.history.is_open(name, seq):
                return _State.MADE
            return _State.OVER if run.rid in self._over else _State.OPEN
        return self._state_of_run(run)

    def _state_of_run(self, run: TreeRun) -> _State:
        """The same of a run whose function this life has not called."""
        if run.parent is None or run.parent not in self._runs:
            return _State.OPEN
        above = self._lives.get(run.parent)
        if above is None:
            return self._state_of_run(self._runs[run.parent])
        if above.history.was_called(run.workflow, run.key):
            return _State.INSIDE
        return _State.OVER if run.parent in self._over else _State.OPEN

    def _is_sequential(self, run: TreeRun) -> bool:
        """Does the run, and what it is called by, do one thing at a time, and nothing beside?"""
        line = {one.rid for one in self._line(run)}
        lives = list(self._lives.items())
        return all(rid in self._over or (rid in line and life.alone()) for rid, life in lives)
