"""How a wait has ended follows from the stamps in the state file alone: compared with a model that is plain to see."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure.core.waits import (
    APPROVAL,
    Lapsed,
    Letter,
    Open,
    RunEnd,
    Standing,
    View,
    Wanted,
    Won,
    brought_about,
    describe,
    verdict,
)

MOMENTS = st.integers(0, 12).map(float)
"""Few, so that things happen at the same moment."""


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Wanted], View]:
    wanted: list[Wanted] = []
    began, found = [], []
    for n in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["event", "event with timeout", "run", "timer", "moment"]))
        began.append(draw(MOMENTS))
        length, at = draw(MOMENTS), draw(MOMENTS)
        what: Letter | RunEnd | None = None
        if kind.startswith("event"):
            wanted.append(Wanted(f"e{n}", length=length if "timeout" in kind else None))
            what = draw(st.none() | st.builds(Letter, st.just(n), MOMENTS, st.just(b"")))
        elif kind == "run":
            wanted.append(Wanted(run=f"r{n}"))
            what = draw(st.none() | st.builds(RunEnd, st.just("done"), MOMENTS, st.just(b"")))
        else:
            wanted.append(Wanted(length=length) if kind == "timer" else Wanted(at=at))
        found.append(what)
    return wanted, View(draw(MOMENTS), tuple(began), tuple(found), open=True)


def model(wanted: list[Wanted], view: View) -> Won | Lapsed | Open:
    """Everything that has come about, sorted by when, then by where it is named; the first of it."""
    came, ahead = [], []
    over = 0
    for n, one in enumerate(wanted):
        due = one.at if one.at is not None else None if one.length is None else view.began[n] + one.length
        what = view.found[n]
        if one.event or one.run:
            if what is not None and (due is None or what.stamp <= due):
                came.append((what.stamp, n))
        elif due is not None and due <= view.now:
            came.append((due, n))
        if due is not None and due <= view.now:
            over += 1
        elif due is not None:
            ahead.append(due)
    if came:
        at, position = min(came)
        return Won(position, at)
    if over == len(wanted):
        dues = [one.due(began) for one, began in zip(wanted, view.began, strict=True)]
        return Lapsed(max(due for due in dues if due is not None))
    return Open(min(ahead, default=None))


@settings(max_examples=300)  # each is a fraction of a millisecond, and 50 missed a wait of which one part is over
@given(situations())
@example(([Wanted("e", length=1.0), Wanted("f")], View(9.0, (1.0, 1.0), (None, None), open=True)))
@example(([Wanted("e", length=3.0)], View(9.0, (1.0,), (Letter(1, 4.0, b""),), open=True)))
@example(([Wanted("e"), Wanted(at=5.0)], View(9.0, (1.0, 1.0), (Letter(1, 5.0, b""), None), open=True)))
def test_the_end_of_a_wait_is_what_came_first(situation: tuple[list[Wanted], View]) -> None:
    """Whatever was sent, whenever it is looked at: table 1 of what is promised."""
    assert verdict(*situation) == model(*situation)


@settings(max_examples=300)
@given(situations(), st.integers(0, 20))
def test_what_is_decided_stays_decided(situation: tuple[list[Wanted], View], later: int) -> None:
    """A process that looks later, after any downtime, comes to the same end, as long as no earlier stamp appears."""
    wanted, view = situation
    end = verdict(wanted, view)
    after = verdict(wanted, View(view.now + later, view.began, view.found, open=True))
    if isinstance(end, Won):
        earlier = [one.due(began) for one, began in zip(wanted, view.began, strict=True)]
        assert after == end or (isinstance(after, Won) and after.at <= end.at and after.at in earlier)
    elif isinstance(end, Lapsed):
        assert after == end


@settings(max_examples=300)
@given(situations())
def test_it_is_looked_at_again_when_that_may_say_more(situation: tuple[list[Wanted], View]) -> None:
    """Before that moment it is as open as now, and at that moment it is not: nobody sleeps past the end of a wait."""
    wanted, view = situation
    end = verdict(wanted, view)
    if isinstance(end, Open) and end.until is not None:
        assert end.until > view.now
        again = verdict(wanted, View(end.until, view.began, view.found, open=True))
        assert again != end
        before = (view.now + end.until) / 2
        assert verdict(wanted, View(before, view.began, view.found, open=True)) == end


def standing(event: str | None = None, due: float | None = None, run: str | None = None) -> Standing:
    return Standing("perdure.x", event, "", run, 0.0, due)


def test_what_a_run_waits_for_is_said_in_a_few_words() -> None:
    """Sleeping and waiting, until when, and not all names of many."""
    zone = timezone(timedelta(hours=1), "CET")
    start = 1_795_946_400.0  # 2026-11-29 10:00 UTC
    assert describe([standing(due=start + 7200)], start, zone) == "it sleeps until 2026-11-29 13:00 CET (in 2 h)"
    assert describe([standing("paid")], start, zone) == "it waits for paid"
    many = [*(standing(f"e{n}") for n in range(5)), standing(run="mail-3"), standing(due=start + 60)]
    assert (
        describe(many, start, zone)
        == "it waits for e0, e1, e2 and 3 more, until 2026-11-29 11:01:00 CET (in 1 min) at most"
    )


REFUND, SHIP = (Standing("perdure.x", APPROVAL, topic, None, 0.0, None) for topic in ("refund 7? #0a1b", "ship? #0a1b"))
PAID = Standing("perdure.x", "paid", "o-7", None, 0.0, None)
ANSWER = "answer it: perdure approve run-1{0}, perdure reject run-1{0}"


@pytest.mark.parametrize(
    ("waits", "says"),
    [
        ([standing()], ""),
        ([standing(run="mail-3")], ""),
        ([standing("perdure.other")], ""),
        ([standing(), PAID], "send it: perdure signal run-1 paid --key o-7"),
        ([PAID, REFUND, REFUND], ANSWER.format("")),
        ([REFUND, SHIP], ANSWER.format(" --title 'refund 7?'")),
    ],
)
def test_what_a_person_can_do_about_a_wait_is_said(waits: list[Standing], says: str) -> None:
    """An approval is answered, by its question if there are several, and a signal is sent."""
    assert brought_about(waits, "run-1") == says
