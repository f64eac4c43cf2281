"""Has an edit moved a call from one run of a tree to another? Judged by records and edits alone (decision 58)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from perdure.core.execution.moved_call import TreeRun
from perdure.core.execution.recorded_inputs import InputsOfBefore
from perdure.core.execution.run_tree import RunTree
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RESERVED

NAME, KEY = "charge", b"key of the call"
ROOT = TreeRun(1, "root", None, "main", b"r")
SHOP = TreeRun(2, "shop", 1, "shop", b"s")
MAIL = TreeRun(3, "mail", 1, "mail", b"m")
DEEP = TreeRun(4, "deep", 2, "deep", b"d")
SHOP_2 = TreeRun(5, "shop 2", 1, "shop", b"other inputs")
NEW = TreeRun(9, "new", 1, "new", b"n")


class Records:
    """The records of a run: which of them no call has claimed, and which child workflows it has called again."""

    def __init__(self, unclaimed: Collection[int] = (), called: Collection[str] = ()) -> None:
        self.unclaimed = set(unclaimed)
        self.called = called
        self.elsewhere: Any = None

    def open_record(self, name: str, key: bytes) -> int | None:
        return min(self.unclaimed, default=None) if (name, key) == (NAME, KEY) else None

    def is_open(self, name: str, seq: int) -> bool:
        return seq in self.unclaimed

    def was_called(self, name: str, key: bytes) -> bool:
        return name in self.called


class Tree:
    """A tree whose call of `charge` was completed as record 7 of one run, or of the root.

    Args:
        by: whose record it is.
        edited: names of the workflows whose functions were changed.
        called: which workflows the functions named in earlier lives.
    """

    def __init__(
        self, by: TreeRun, edited: Collection[str] = (), called: Mapping[str, Collection[str]] | None = None
    ) -> None:
        records = {} if by is ROOT else {(NAME, KEY): [(by.rid, 7)]}
        named = called or {}
        self.by = by
        self.alone = {run.rid: True for run in (ROOT, SHOP, MAIL, DEEP, SHOP_2, NEW)}
        self.lives: dict[int, Records] = {}
        self.tree = RunTree(
            ROOT,
            [SHOP, MAIL, DEEP, SHOP_2],
            records,
            edited.__contains__,
            lambda one, other: other in named.get(one, ()),
            InputsOfBefore(lambda rid, seq: pytest.fail("inputs of scalars look as they always did")),
        )

    def enter(self, run: TreeRun, called: Collection[str] = ()) -> None:
        self.lives[run.rid] = Records({7} if run is self.by else (), called)
        self.tree.enter(run, self.lives[run.rid], lambda: self.alone[run.rid])  # type: ignore[arg-type]

    def claim(self, run: TreeRun) -> None:
        self.lives[run.rid].unclaimed.clear()

    def moved(self, here: TreeRun, name: str = NAME, key: bytes = KEY) -> bool:
        """As the run asks that is about to make the call."""
        found = self.lives[here.rid].elsewhere(Call(Spec("step", print, name), (), {}, b"", key))
        assert found is None or (found.before, found.now, found.seq, found.root) == (self.by, here, 7, "root")
        return found is not None


def from_the_root(edited: Collection[str] = ("main",), into: TreeRun = SHOP, **how: Any) -> Tree:
    """The root had made the call; a child run is about to."""
    tree = Tree(ROOT, edited, **how)
    tree.enter(ROOT)
    tree.enter(into)
    return tree


def test_a_call_that_the_edited_caller_makes_no_more_is_moved_into_a_child() -> None:
    """The workflow that had it does one thing at a time and was edited, and so was, or is new, the one that has it."""
    assert from_the_root(("main", "shop")).moved(SHOP)
    assert from_the_root(("main", "new"), NEW).moved(NEW)


def test_a_child_that_was_not_edited_may_be_called_anew() -> None:
    """A call of it that was not there before has moved the call; one that was always there makes its own."""
    assert from_the_root().moved(SHOP)
    assert not from_the_root(called={"main": ["shop"]}).moved(SHOP)


def test_nothing_is_moved_where_nothing_was_edited() -> None:
    """Two workflows may well make the same call."""
    assert not from_the_root(()).moved(SHOP)
    assert not from_the_root(("shop",)).moved(SHOP)


def test_a_call_that_was_made_again_is_another_one() -> None:
    """Its own run has claimed the record."""
    tree = from_the_root(("main", "shop"))
    tree.claim(ROOT)
    assert not tree.moved(SHOP)


def test_other_calls_and_those_of_perdure_itself_are_not_looked_for() -> None:
    """Another step, other inputs; what begins with the reserved prefix."""
    tree = from_the_root(("main", "shop"))
    assert not tree.moved(SHOP, name="refund")
    assert not tree.moved(SHOP, key=b"another")
    tree = Tree(SHOP, ("main", "shop"))
    tree.tree._records[RESERVED + "now", KEY] = [(SHOP.rid, 7)]
    tree.enter(ROOT)
    assert not tree.moved(ROOT, name=RESERVED + "now")


def test_with_several_branches_both_places_must_have_been_edited() -> None:
    """Another branch may still make the call where it was."""
    for edited, moved in ((("main",), False), (("shop",), False), (("main", "shop"), True)):
        tree = from_the_root(edited)
        tree.alone[ROOT.rid] = False
        assert tree.moved(SHOP) is moved
    tree = from_the_root(())
    tree.enter(MAIL)  # beside, and not above
    assert not tree.moved(SHOP)


def test_a_sibling_that_runs_beside_leaves_it_open() -> None:
    """It is not above the run that asks; as soon as it is over, it can make no call any more."""
    tree = from_the_root()
    tree.enter(MAIL)
    assert not tree.moved(SHOP)
    tree.tree.leave(MAIL.rid)
    assert tree.moved(SHOP)


def from_a_child(edited: Collection[str], called: Collection[str] = (), by: TreeRun = SHOP, **how: Any) -> Tree:
    """A child run had made the call, and this life has not called it; the root is about to."""
    tree = Tree(by, edited, **how)
    tree.enter(ROOT, called)
    return tree


def test_a_call_of_a_child_that_is_called_no_more_is_moved_to_its_caller() -> None:
    """If the caller was edited."""
    assert from_a_child(("main",)).moved(ROOT)
    assert not from_a_child(()).moved(ROOT)
    assert not from_a_child(("shop",)).moved(ROOT)


def test_a_call_of_a_child_that_is_still_called_is_moved_if_both_were_edited() -> None:
    """Its function is not executed again, so that nobody sees whether it would make the call."""
    assert from_a_child(("main", "shop"), ["shop"]).moved(ROOT)
    assert not from_a_child(("main",), ["shop"]).moved(ROOT)
    assert not from_a_child(("shop",), ["shop"]).moved(ROOT)


def test_a_child_of_a_child_is_inside_of_what_is_called() -> None:
    """Whether it is called any more is seen at the first run above it that this life has entered."""
    assert from_a_child(("main", "deep"), ["shop"], DEEP).moved(ROOT)
    assert not from_a_child(("main",), ["shop"], DEEP).moved(ROOT)
    assert from_a_child(("main",), (), DEEP).moved(ROOT)
    tree = from_a_child(("main",), ["shop"], DEEP)
    tree.enter(SHOP)
    tree.tree.leave(SHOP.rid)  # over, and `deep` was not called
    assert tree.moved(ROOT)


def test_a_call_moves_between_two_children_if_what_both_descend_from_was_edited() -> None:
    """Or if both were."""
    for edited, moved in (((), False), (("main",), True), (("mail",), False), (("shop", "mail"), True)):
        tree = from_a_child(edited, (), SHOP)
        tree.enter(MAIL)
        assert tree.moved(MAIL) is moved, edited
    for edited, moved in ((("shop", "mail"), True), (("mail",), False), (("shop",), False), (("main",), False)):
        tree = from_a_child(edited, ["shop"], SHOP)
        tree.enter(MAIL)
        assert tree.moved(MAIL) is moved, edited


@pytest.mark.parametrize("edited", [(), ("main",), ("shop",), ("main", "shop")])
def test_runs_of_one_workflow_are_compared_if_one_is_called_instead_of_the_other(edited: tuple[str, ...]) -> None:
    """With other inputs: only an unfinished one that is not called again, after an edit of the caller."""
    tree = from_a_child(edited, (), SHOP)
    tree.enter(SHOP_2)
    assert tree.moved(SHOP_2) is ("main" in edited)
    both = from_a_child(edited, (), SHOP)
    both.enter(SHOP)
    both.enter(SHOP_2)
    assert not both.moved(SHOP_2)
    still = from_a_child(edited, ["shop"], SHOP)
    still.enter(SHOP_2)
    assert not still.moved(SHOP_2)
    beside = from_a_child(edited, (), SHOP)
    beside.enter(SHOP_2)
    beside.alone[ROOT.rid] = False
    assert not beside.moved(SHOP_2)


def test_a_child_that_is_made_and_over_in_this_life_is_forgotten() -> None:
    """Memory does not grow with the number of child runs, and what they do is no hindrance to others."""
    tree = from_the_root(("main", "shop", "new"))
    tree.enter(NEW)
    tree.alone[NEW.rid] = False
    tree.tree.leave(NEW.rid)
    assert NEW.rid not in tree.tree._runs
    assert NEW.rid not in tree.tree._lives
    assert tree.moved(SHOP)


def test_a_run_that_is_entered_again_is_not_over() -> None:
    """A child run that is called a second time may still make the call."""
    tree = Tree(SHOP, ("shop", "main"), called={"main": ["mail"]})
    tree.enter(ROOT)
    tree.enter(SHOP)
    tree.tree.leave(SHOP.rid)
    assert tree.moved(ROOT)
    tree.alone[SHOP.rid] = False
    tree.tree.enter(SHOP, tree.lives[SHOP.rid], lambda: False)  # type: ignore[arg-type]
    tree.claim(SHOP)
    assert not tree.moved(ROOT)


def test_a_run_does_not_find_its_own_record() -> None:
    """What is its own it claims, or is compared with, without this."""
    tree = from_a_child(("main", "shop"))
    tree.enter(SHOP)
    assert not tree.moved(SHOP)
