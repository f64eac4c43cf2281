"""What becomes of ticks: the tables of overlap and of missed ticks, cell by cell."""

from __future__ import annotations

import pytest

from perdure.core.tick_verdicts import Judgement, Missed, Overlap, Runs, judge

NOW = 1_000_000.0
LATE = tuple(int(NOW) - 3600 * hours for hours in (5, 4, 3, 2, 1))
"""Ticks that nobody served."""
FREE = Runs()
BUSY = Runs(begun=1)
FULL = Runs(begun=1, waiting=1)


def outcomes(judged: Judgement) -> list[str]:
    return [each.reason or each.outcome for each in judged.verdicts]


@pytest.mark.parametrize(
    ("overlap", "free", "busy", "full"),
    [
        ("skip", "started", "overlap", "overlap"),
        ("queue", "started", "waiting", "overlap"),
        ("allow", "started", "started", "started"),
        ("cancel", "started", "waiting", "waiting"),
    ],
)
def test_a_tick_on_time_meets_the_run_before(overlap: Overlap, free: str, busy: str, full: str) -> None:
    """Table 2: skipped, one waits, begins beside it, or takes its place; whatever is said of missed ones."""
    for missed in ("skip", "one", "all"):
        for runs, expected in ((FREE, free), (BUSY, busy), (FULL, full)):
            judged = judge([int(NOW)], NOW, overlap, missed, runs)
            assert outcomes(judged) == [expected]
            assert judged.replace == (overlap == "cancel" and runs != FREE)
            assert not judged.missed


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow", "cancel"])
def test_missed_ticks_are_caught_up_with_as_the_table_says(overlap: Overlap) -> None:
    """Table 3: none; one run of the latest tick that stands for all; or one a tick, in turn or at once."""
    k = len(LATE)
    none = judge(LATE, NOW, overlap, "skip", FREE)
    assert outcomes(none) == ["missed"] * k
    one = judge(LATE, NOW, overlap, "one", FREE)
    assert outcomes(one) == ["missed"] * (k - 1) + ["started"]
    assert one.verdicts[-1].missed == one.missed == k
    every = judge(LATE, NOW, overlap, "all", FREE)
    if overlap == "cancel":
        assert every == one
    else:
        rest = "started" if overlap == "allow" else "waiting"
        assert outcomes(every) == ["started"] + [rest] * (k - 1)
        assert [each.missed for each in every.verdicts] == [1] * k  # itself, as if it were the only one
        late = [each.missed for each in judge([*LATE, int(NOW)], NOW, overlap, "all", FREE).verdicts]
        assert late == [1] * k + [0]


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_catching_up_waits_for_a_run_that_was_under_way(overlap: Overlap) -> None:
    """A worker that died in the middle of a run leaves it unfinished: catching up comes after it, and is kept."""
    assert outcomes(judge(LATE, NOW, overlap, "one", BUSY))[-1] == "waiting"
    assert outcomes(judge(LATE, NOW, overlap, "one", FULL))[-1] == "overlap"
    assert outcomes(judge(LATE, NOW, overlap, "all", BUSY)) == ["waiting"] * len(LATE)


def test_the_newest_tick_may_be_a_minute_late() -> None:
    """A worker that cron starts once a minute serves; what is older than the newest, or than a minute, was missed."""
    on_time = [*LATE, int(NOW) - 60]
    assert outcomes(judge(on_time, NOW, "skip", "skip", FREE)) == ["missed"] * 5 + ["started"]
    assert outcomes(judge([int(NOW) - 61], NOW, "skip", "skip", FREE)) == ["missed"]
    one: Missed = "one"
    judged = judge(on_time, NOW, "allow", one, FREE)
    assert outcomes(judged) == ["missed"] * 5 + ["started"]
    assert judged.verdicts[-1].missed == 5


def test_a_spread_makes_no_tick_late() -> None:
    """C47: a tick that is put off by its spread is on time when that is over."""
    assert outcomes(judge([int(NOW) - 600], NOW, "skip", "skip", FREE, late=580)) == ["started"]


def test_nothing_due_is_nothing() -> None:
    """No tick, no verdict."""
    assert judge([], NOW, "cancel", "all", BUSY) == Judgement()
