"""What a workflow may look like, as data, and how to make up any number of them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st


class Do(NamedTuple):
    """One call of a step."""

    name: str
    argument: int


class Sequence(NamedTuple):
    """One after the other."""

    parts: tuple[Node, ...]


class Gather(NamedTuple):
    """Side by side; when all have ended, the first error is raised."""

    parts: tuple[Node, ...]


class Handle(NamedTuple):
    """Try; if it fails, do something else."""

    attempt: Node
    fallback: Node


class Reraise(NamedTuple):
    """Try; if it fails, clean up, and let it fail."""

    attempt: Node
    cleanup: Node


class Child(NamedTuple):
    """Another workflow."""

    name: str
    argument: int
    inner: Node


class Map(NamedTuple):
    """A step over many items, perhaps identified by a key; what fails is parked, or raised."""

    name: str
    items: tuple[int, ...]
    keyed: bool
    park: bool
    concurrency: int


Node = Do | Sequence | Gather | Handle | Reraise | Child | Map

KINDS = 4
ARGUMENTS = st.integers(0, KINDS - 1)
STEPS = "abfhx"
"""Steps a and b succeed. Step f fails as often as its argument says (at most twice), then succeeds. Step h fails until
it is mended, step x always. Of the items of a batch, 2 fails once and 3 always. (Arguments are meant modulo KINDS.)"""

DO = st.builds(Do, st.sampled_from(STEPS), ARGUMENTS)
MAP = st.builds(
    Map,
    st.sampled_from("mn"),
    st.lists(ARGUMENTS, max_size=5).map(tuple),
    keyed=st.booleans(),
    park=st.booleans(),
    concurrency=st.integers(1, 3),
)
NOTHING = Sequence(())


def _larger(node: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    parts = st.lists(node, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Sequence, parts),
        st.builds(Gather, parts),
        st.builds(Handle, node, node | st.just(NOTHING)),
        st.builds(Reraise, node, st.builds(Do, st.sampled_from("ab"), ARGUMENTS)),
        st.builds(Child, st.just(""), ARGUMENTS, node),
    )


class _Namer:
    """Turns any shape into a deterministic program that can end.

    A function has one name. A batch that raises leaves it to chance which other items were done, so it shares its name
    with no other. Calls of branches that run side by side differ. What is handled is broken for good: a step that is
    mended between two processes may be handled in one and succeed in the other, as the order of branches will have it.
    And what is broken for good is handled.
    """

    def __init__(self) -> None:
        self.branches = 0
        self.batches = 0
        self.inners: list[Node] = []

    def proper(self, node: Node, handled: bool, branch: int) -> Node:
        match node:
            case Do("h", argument) if handled:
                return Do("x", _in(branch, argument))
            case Do("x", argument) if not handled:
                return Do("a", _in(branch, argument))
            case Do(name, argument):
                return Do(name, _in(branch, argument))
            case Sequence(parts):
                return Sequence(tuple(self.proper(part, handled, branch) for part in parts))
            case Gather(parts):
                return Gather(tuple(self.proper(part, handled, self.another()) for part in parts))
            case Handle(attempt, fallback):
                return Handle(self.proper(attempt, True, branch), self.proper(fallback, handled, branch))
            case Reraise(attempt, cleanup):
                return Reraise(self.proper(attempt, handled, branch), self.proper(cleanup, handled, branch))
            case Child(_, argument, inner):
                inner = self.proper(inner, handled, branch)
                if inner not in self.inners:
                    self.inners.append(inner)
                return Child(f"child {self.inners.index(inner)}", _in(branch, argument), inner)
            case Map(name, items, park=park):
                if handled and not park:
                    self.batches += 1
                    name = f"{name} {self.batches}"
                items = tuple(_in(branch, argument) for argument in items)
                return node._replace(name=name, items=items, park=park or not handled)
        raise AssertionError(node)

    def another(self) -> int:
        self.branches += 1
        return self.branches


def _in(branch: int, argument: int) -> int:
    return argument + KINDS * branch


TREES = st.recursive(DO | MAP, _larger, max_leaves=12).map(
    lambda tree: _Namer().proper(Sequence((tree, Do("a", 0))), handled=False, branch=0)
)
"""Any workflow of these."""
