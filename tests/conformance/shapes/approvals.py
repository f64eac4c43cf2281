"""Approvals: asked once, answered by command, also in branches; the second answer, and nobody's."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

from tests.conformance.bench import Bench, note
from tests.conformance.shape import shape
from tests.conformance.shapes.waits import fragile, resumed

import perdure
from perdure import aio, step, workflow
from perdure.engines.interface import StepContext, here
from perdure.errors import AlreadyDecided, NotFound
from perdure.operations.approvals import answer
from perdure.operations.location import locate
from waiting import until

said: list[str] = []
"""What the persons were told who have answered."""
persons: list[threading.Thread] = []


def say(run: str, title: str, approved: bool, by: str) -> str:
    """Answer as a command does; "" as long as that is not asked."""
    try:
        return answer(locate(), run, approved, note="n", by=by, title=title).text().removeprefix(run)
    except NotFound:
        return ""
    except AlreadyDecided as error:
        return error.what.partition(" on ")[0]


@step(retry=None)
def somebody_answers(*answers: tuple[str, bool]) -> None:
    """Answers each question of the run as soon as it is asked, and then once more."""
    run = cast(StepContext, here.get()).run_id

    def work() -> None:
        for title, approved in answers:
            said.append(until(lambda title=title, yes=approved: say(run, title, yes, "Ann"), title))
            said.append(say(run, title, not approved, "Mallory"))

    persons.append(threading.Thread(target=work, daemon=True))
    persons[-1].start()
    note("somebody answers")


def told() -> list[str]:
    """What they were told in all."""
    for person in persons:
        person.join()
    found = [line.partition(";")[0] for line in said]
    said.clear()
    persons.clear()
    return found


@shape
def a_person_decides(bench: Bench) -> None:
    @workflow
    def asks() -> list[Any]:
        somebody_answers(("refund", True), ("again", False))
        found = [perdure.approval(title, details="d", timeout="1h") for title in ("refund 7?", "again?")]
        late = perdure.approval("nobody?", timeout="10ms")
        fragile("f")
        return [(one.approved, one.by, one.note) for one in (*found, late)]

    result, made = resumed(bench, asks)
    assert result == [(True, "Ann", "n"), (False, "Ann", "n"), (False, None, "")]
    assert made == ["f"]
    found = told()
    assert found == [
        ": 'refund 7?' was approved by Ann",
        "this approval was answered before: approved by Ann",
        ": 'again?' was rejected by Ann",
        "this approval was answered before: rejected by Ann",
    ], found


@shape
def branches_ask_side_by_side(bench: Bench) -> None:
    @workflow
    async def asks_twice() -> list[bool]:
        somebody_answers(("b?", True), ("a?", False))
        first, second = await asyncio.gather(*(aio.approval(title, timeout="1h") for title in ("a?", "b?")))
        fragile("f")
        return [first.approved, second.approved]

    result, made = resumed(bench, asks_twice)
    assert result == [False, True]
    assert made == ["f"]
    assert len(told()) == 4
