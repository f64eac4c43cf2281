"""In which order a resumed async workflow sees again what it saw before, judged by the records alone."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.core.execution.delivery_order import BLOCKED, OVER, Deliver, DeliveryOrder, Fire
from perdure.core.execution.history import History


def order(*seqs: int, fired: Sequence[tuple[int, float]] = (), exempt: Sequence[tuple[int, int]] = ()) -> DeliveryOrder:
    """Of a run with records of these numbers."""
    index = [(seq, "in order", seq.to_bytes(16, "little"), 0, "done", "step") for seq in seqs]
    return DeliveryOrder(History(1, "run", index, exempt=exempt), fired)


def test_results_come_in_the_order_of_their_records() -> None:
    """Whoever waits for the first record comes first, in whatever order they came to wait."""
    found = order(1, 2)
    found.wait(2)
    assert found.next((), 0) == BLOCKED  # whoever is to claim record 1 is on its way
    found.wait(1)
    assert found.next((), 0) == Deliver(1)
    found.leave(1)
    assert found.first_waiting() == 2


def test_a_place_between_two_records_is_delivered_between_them() -> None:
    """A failure that has no record."""
    found = order(1, 2)
    found.wait(1)
    found.wait(1.5)
    assert found.next((), 0) == Deliver(1)
    found.leave(1)
    assert found.next((), 0) == BLOCKED


def test_nothing_is_left_when_all_records_were_passed() -> None:
    """An empty record, and one that is not held against the script."""
    assert order().next((), 0) == OVER
    found = order(1, 2, exempt=[(1, 2)])
    assert found.head() is None
    assert found.next((), 0) == OVER


def test_a_timer_fires_after_the_record_that_it_fired_after() -> None:
    """Not before that was delivered; at once if nothing comes before it."""
    found = order(1, 2, fired=[(1, 1.0)])
    found.wait(1)
    assert found.next((1,), 1) == Deliver(1)
    early = order(2, fired=[(1, 1.0)])
    assert early.next((1,), 1) == Fire(1)
    assert early.next((1,), 1) == BLOCKED


def test_a_place_that_is_waited_for_comes_before_a_timer_that_fired_at_it() -> None:
    """Also where no record stands there any more."""
    found = order(5, fired=[(1, 1.5)])
    found.wait(1.5)
    assert found.next((1,), 1) == Deliver(1.5)


def test_a_timer_that_is_not_made_yet_blocks_until_it_is() -> None:
    """Unless the script makes it no more: then it is passed by. One that was made, and cannot fire any more, is too."""
    found = order(5, fired=[(2, 0.0), (1, 0.0)])
    assert found.next((1,), 1) == BLOCKED
    assert found.pass_by_timer(1)
    assert not found.pass_by_timer(1)  # timer 1 is made
    assert found.next((), 1) == BLOCKED  # and gone: what is left is record 5
    assert not found.pass_by_timer(0)  # none is left


def test_a_claimed_record_is_next_if_nothing_comes_before_it() -> None:
    """No record that is unclaimed, no timer, and nobody who waits."""
    claimed = order(2)
    assert claimed.is_next(1)
    assert not claimed.is_next(3)
    assert not claimed.is_next(2)
    assert order().is_next(7)
    assert not order(5, fired=[(1, 1.0)]).is_next(2)
    assert order(5, fired=[(1, 2.0)]).is_next(2)
    waited = order(5)
    waited.wait(1)
    assert not waited.is_next(2)
    waited.leave(1)
    assert waited.is_next(2)


def test_a_loop_that_rests_sees_what_it_waits_for_or_a_timer_of_its_own() -> None:
    """Whatever other records are left; a timer that fired behind what is waited for comes behind it."""
    found = order(5, fired=[(1, 1.0), (2, 3.0), (3, 4.0)])
    assert found.next_of_its_own((2, 3), 3) == Fire(2), "timer 1 can fire no more"
    found.wait(4.0)
    assert found.next_of_its_own((3,), 3) == Deliver(4.0)
    found.leave(4.0)
    assert found.next_of_its_own((3,), 2) == BLOCKED, "timer 3 is not made yet"
    assert found.next_of_its_own((3,), 3) == Fire(3)
    assert found.next_of_its_own((3,), 3) == BLOCKED
    found.wait(9)
    assert found.next_of_its_own((), 3) == Deliver(9)
