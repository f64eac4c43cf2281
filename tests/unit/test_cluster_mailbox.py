"""The mailbox of a root on a cluster: what a child run was handed and has not taken goes back to its place."""

from __future__ import annotations

import pytest

pytest.importorskip("temporalio")

from perdure.engines.temporal.mailbox import Mailbox
from perdure.engines.temporal.messages import ChildAsk
from perdure.engines.temporal.payloads import Letter, OpenRow

ROW = OpenRow("n", "", None, 0.0, None)


def mailbox(count: int = 3) -> Mailbox:
    found = Mailbox()
    found.take_over([Letter(f"id{n}", "n", "", b"%d" % n, float(n)) for n in range(1, count + 1)])
    return found


def ask(**said: object) -> ChildAsk:
    return ChildAsk("child", "perdure.wait:n", b"k", 0, said.pop("rows", []), **said)  # type: ignore[arg-type]


def first(box: Mailbox) -> int | None:
    found = box.first("n", "", None, 0)
    return None if found is None else found[0]


def test_what_a_child_gives_up_is_the_first_again() -> None:
    """Also if later ones were taken meanwhile; its value is still there, also in a new execution."""
    box = mailbox()
    box.hand_over(ask().owner, 1)
    assert first(box) == 2
    box.take(2)
    moved = Mailbox()
    moved.take_over(box.letters)
    moved.handed.update(box.handed)
    assert first(moved) == 3
    assert not moved.child_asked(ask())
    assert first(moved) == 1
    assert moved.letters[0].value == b"1"
    assert not moved.child_asked(ask()), "said twice, it changes nothing"
    assert first(moved) == 1


def test_what_a_child_has_taken_is_gone() -> None:
    """So is what did not fit, and the child waits on then; a child that asks anew gives back what it has."""
    box = mailbox()
    box.hand_over(ask().owner, 1)
    assert not box.child_asked(ask(taken=1))
    box.hand_over(ask().owner, 2)
    assert box.child_asked(ask(rows=[ROW], aside=2, reason="no number"))
    assert [(one.status, one.reason) for one in box.letters] == [("taken", ""), ("aside", "no number"), ("stored", "")]
    box.hand_over(ask().owner, 3)
    assert first(box) is None
    assert box.child_asked(ask(rows=[ROW]))
    assert first(box) == 3
