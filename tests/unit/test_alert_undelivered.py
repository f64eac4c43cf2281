"""An alert that was not delivered does not count as sent: a mended target gets the failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from alert_world import Chat, Clock, by_digest, down, failed

from perdure.alerts.alert import RECOVERED, Alert
from perdure.alerts.sender import log_failing
from perdure.alerts.spool import Spool
from perdure.errors import AlertError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    return Spool(tmp_path / "alerts", now=clock)


def test_another_target_hears_of_a_failure_that_goes_on(spool: Spool) -> None:
    """The first address was wrong; at the one that replaces it the same failure is no repetition, and then it is."""
    wrong, right = Chat("wrong"), Chat("right")
    wrong.trouble = down
    assert spool.put(failed("KeyError: 1"), [wrong])
    spool.deliver(by_digest(wrong))
    assert spool.put(failed("KeyError: 2"), [right])
    assert not spool.put(failed("KeyError: 3"), [right])
    assert spool.deliver(by_digest(right)) == []
    assert right.said == ["KeyError: 2"]


def test_a_target_that_is_added_hears_of_it_and_the_other_does_not_twice(spool: Spool, clock: Clock) -> None:
    """Each is sent the failure once in a window, and its own count when that ends."""
    old, new = Chat("old"), Chat("new")
    both = by_digest(old, new)
    spool.put(failed("KeyError: 1"), [old])
    for n in range(3):
        spool.put(failed(f"KeyError: {n}"), [old, new])
    spool.deliver(both)
    assert ([alert.repeated for alert in old.got], [alert.repeated for alert in new.got]) == ([0], [0])
    clock.time += 900
    spool.deliver(both)
    assert ([alert.repeated for alert in old.got], [alert.repeated for alert in new.got]) == ([0, 3], [0, 2])


def test_the_recovery_closes_the_windows_of_all_targets(spool: Spool) -> None:
    """After it the next failure is sent to each at once."""
    old, new = Chat("old"), Chat("new")
    spool.put(failed("KeyError: 1"), [old])
    spool.put(failed("KeyError: 1"), [old, new])
    spool.put(Alert(what=RECOVERED, level="info", workflow="nightly"), [old, new])
    assert spool.put(failed("KeyError: 1"), [old, new])
    spool.deliver(by_digest(old, new))
    assert [alert.what for alert in old.got] == [alert.what for alert in new.got] == ["failed", RECOVERED, "failed"]


def test_a_target_that_works_again_hears_at_the_next_failure(spool: Spool, clock: Clock) -> None:
    """Though the pause between two tries has grown to a quarter of an hour: the same failure is a reason to try now."""
    chat = Chat()
    chat.trouble = down
    spool.put(failed("KeyError: 1"), [chat])
    while not spool.pending({}).alerts or spool.pending({}).alerts[0].next - clock.time < 240:
        spool.deliver(by_digest(chat), all=True)
    chat.trouble = lambda _: None
    clock.time += 15
    spool.deliver(by_digest(chat))
    assert chat.said == []
    spool.put(failed("KeyError: 2"), [chat])
    spool.deliver(by_digest(chat))
    assert chat.said == ["KeyError: 1"]
    assert spool.pending({}).counted == 1


def test_repetitions_do_not_hammer_a_target_that_is_down(spool: Spool, clock: Clock) -> None:
    """A failure in a tight loop tries it once in 15 s."""
    chat = Chat()
    chat.trouble = down
    for _ in range(120):
        spool.put(failed("KeyError: 1"), [chat])
        spool.deliver(by_digest(chat))
        clock.time += 1
    assert chat.asked == 120 // 15


def test_what_a_channel_refused_is_not_tried_for_a_repetition(spool: Spool, clock: Clock) -> None:
    """It would be refused again."""
    chat = Chat()
    chat.trouble = lambda _: AlertError("cannot be parsed", refused=True)
    for _ in range(3):
        spool.put(failed("KeyError: 1"), [chat])
        spool.deliver(by_digest(chat))
        clock.time += 14
    assert chat.asked == 2  # at first, and when its pause is over


def test_what_another_process_could_not_deliver_is_logged(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each target that is configured; what has not been tried yet is no failure."""
    wrong, fresh, gone = Chat("wrong"), Chat("fresh"), Chat("gone")
    wrong.trouble = gone.trouble = down
    spool.put(failed("KeyError: 1"), [wrong, gone])
    spool.put(failed("KeyError: 2"), [wrong])
    spool.deliver(by_digest(wrong, gone))
    spool.put(failed("KeyError: 3"), [fresh])
    caplog.clear()
    log_failing([wrong, fresh], spool.folder)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "perdure"]
    assert line.startswith("alert not delivered to wrong: ")
    assert line.endswith("; it waits and is tried again")
