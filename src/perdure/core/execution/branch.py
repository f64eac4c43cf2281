"""The concurrent branches of a workflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from perdure.core.execution.spec import Call
from perdure.core.values import codec

NO_INPUTS = codec.pack_inputs([], {}, owner="")


class Task(Protocol):
    """What carries a branch."""

    def done(self) -> bool:
        """Has it ended?"""


class Living(list["Branch"]):
    """Branches that have not been seen to end.

    A task that has ended keeps what it has returned or raised, so it is not kept here for long: beside those under way
    there are at most as many again, or a few.
    """

    __slots__ = ("_full", "_turn")

    def __init__(self) -> None:
        self._full = _FEW
        self._turn = [True]

    def take(self, branch: Branch) -> None:
        """One more has begun."""
        self.append(branch)
        if len(self) >= self._full:
            self.look()

    def look(self) -> None:
        """Forget those that have ended. Another thread may add some meanwhile, or look itself."""
        try:
            self._turn.pop()
        except IndexError:
            return
        try:
            there = len(self)
            living = [one for one in self[:there] if not one.done()]
            for one in {*self[:there]}.difference(living):
                one.task = _ENDED  # a task holds the context that its branch is in: a circle
            self[:there] = living
            self._full = max(_FEW, 2 * len(self))
        finally:
            self._turn.append(True)


_FEW = 8


class _Ended:
    """Stands for what has carried a branch that has ended."""

    def done(self) -> bool:
        return True


_ENDED = _Ended()


class Branch:
    """One line of execution: the workflow's own, or a task that it started, directly or through others.

    `path` identifies it within its run by the order in which each parent started its children; `living` holds the
    branches of the run that have not been seen to end. `due_to_exit`: it was started while an exit was handled
    (`Call.due_to_exit`), or by such a branch.

    Args:
        task: what carries it.
        parent: the branch that started it; None for the workflow's own.
    """

    __slots__ = ("__weakref__", "children", "due_to_exit", "living", "parent", "path", "task")

    def __init__(self, task: Task, parent: Branch | None = None) -> None:
        self.task: Task = task
        self.parent = parent
        self.children = 0
        self.due_to_exit: bool = parent is not None and parent.due_to_exit
        self.living: Living = parent.living if parent is not None else Living()
        self.path = b""
        if parent is not None:
            self.path = b"%b.%d" % (parent.path, parent.children)
            parent.children += 1
        self.living.take(self)

    def done(self) -> bool:
        """Has it ended?"""
        return self.task.done()

    def place(self, call: Call) -> Call:
        """The call as one of this branch.

        Calls with inputs are distinguished by those, whichever branch they are in. Calls without (the time, a random
        number) are distinguished by their place only, and the order of places in different branches is not fixed.
        """
        if self.path and call.input == NO_INPUTS and not call.named:
            call.key = codec.digest(call.key + self.path)
        if self.due_to_exit:
            call.due_to_exit = True
        return call


def busy(living: Iterable[Branch], resting: Iterable[Branch]) -> bool:
    """Is a branch on its way to something, beside those that rest and those that wait for them?"""
    idle: set[Branch] = set()
    for branch in resting:
        one: Branch | None = branch
        while one is not None:
            idle.add(one)
            one = one.parent
    return any(branch not in idle and not branch.done() for branch in living)
