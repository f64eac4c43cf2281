"""What a step says of its own results and repetitions: a bad result is a failed attempt, and a loop comes to an end."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Died, Machine
from perdure import Retry, step, workflow
from perdure.core.values import codec
from perdure.errors import Drift, EnsureFailed, NotStorable, OptionError, RepeatLimit

AT_ONCE = Retry(delay=0)


def test_a_refused_result_is_a_failed_attempt(machine: Machine) -> None:
    """It is tried again, the good result is saved, and the check is not made again on resume."""
    answers = iter([{"status": "error"}, {"status": "ok"}])
    checked: list[Any] = []

    def good(result: dict[str, str]) -> bool:
        checked.append(result)
        return result["status"] == "ok"

    @step(ensure=good, retry=AT_ONCE)
    def charge() -> dict[str, str]:
        return next(answers)

    @step(retry=None)
    def die() -> None:
        if len(machine.ran) == 0:
            machine.ran.append("died")
            raise Died

    @workflow
    def w() -> str:
        result = charge()
        die()
        return result["status"]

    with pytest.raises(Died):
        w()
    machine.boot()
    assert w() == "ok"
    assert checked == [{"status": "error"}, {"status": "ok"}]


@pytest.mark.parametrize(
    ("said", "wrong"), [(False, True), ("no receipt", True), (0, True), (True, False), (None, False), ("", False)]
)
def test_what_a_check_can_say(machine: Machine, said: Any, wrong: bool) -> None:
    """False or a text is a complaint, and the error has both the result and the text; None is none."""

    @step(ensure=lambda result: said, retry=None)
    def charge() -> dict[str, int]:
        return {"receipt": 7}

    w = workflow(lambda: charge(), name="w")
    if wrong:
        with pytest.raises(EnsureFailed) as caught:
            w()
        assert "returned {'receipt': 7}" in caught.value.what
        assert not isinstance(said, str) or said in caught.value.what
    else:
        assert w() == {"receipt": 7}


async def _async(machine: Machine) -> None:
    @step(ensure=lambda result: result > 1, retry=None)
    async def count(item: int) -> int:
        return item

    @workflow
    async def w() -> tuple[list[int | None], int]:
        batch = await count.map([1, 2, 3], concurrency=3)
        return list(batch.results), len(batch.dead)

    assert await w() == ([2, 3], 1)


def test_items_of_an_async_map_are_checked(machine: Machine) -> None:
    """A refused item becomes a dead letter."""
    import asyncio

    asyncio.run(_async(machine))


def test_what_a_check_raises_is_the_failure(machine: Machine) -> None:
    """A check that finds nothing to look at says so."""

    @step(ensure=lambda result: result["status"] == "ok", retry=None)
    def charge() -> dict[str, str]:
        return {}

    @workflow
    def w() -> None:
        charge()

    with pytest.raises(KeyError, match="status"):
        w()


def test_a_loop_stops_at_the_same_call_on_resume(machine: Machine) -> None:
    """The fourth call of one input is refused, other inputs are not; what there is can be returned."""

    @step(max_repeats=3, retry=None)
    def search(text: str) -> int:
        machine.ran.append(text)
        return len(machine.ran)

    @step(retry=None)
    def die() -> None:
        if "died" not in machine.ran:
            machine.ran.append("died")
            raise Died

    @workflow
    def agent() -> list[int]:
        found: list[int] = []
        try:
            while True:
                found += [search("Pariss"), search(f"Paris {len(found)}")]
        except RepeatLimit as limit:
            machine.ran.append(limit.what)
            die()
            return found

    with pytest.raises(Died):
        agent()
    machine.boot()
    assert agent() == [1, 2, 3, 4, 5, 6]
    assert machine.ran.count("Pariss") == 3
    assert "3 times with ('Pariss')" in str(machine.ran[-1])
    with pytest.raises(RepeatLimit):
        workflow(lambda: [search("x") for _ in range(4)], name="other")()


def test_a_digest_of_the_inputs_is_kept(machine: Machine) -> None:
    """Large inputs are a text and a digest once the call is done; a dead letter has all of them."""

    @step(input="digest", retry=None, key=lambda data: data["id"], on_failure="dead_letter")
    def send(data: dict[str, Any]) -> int:
        if data["id"] == 2:
            raise ValueError("no")
        return len(data["text"])

    given = [{"id": number, "text": "secret of the house " * 1000} for number in (1, 2)]
    seen: list[dict[str, Any]] = given

    @step(retry=None)
    def die() -> None:
        if not machine.ran:
            machine.ran.append("died")
            raise Died

    @workflow
    def w() -> int:
        done = [send(data) for data in seen]
        die()
        return len(done)

    with pytest.raises(Died):
        w()
    store = machine.engine.store
    done, dead = list(store.all_records(1))
    assert len(done.input) < 2200
    assert codec.describe_inputs(done.input).startswith("({'id': 1, 'text': 'secret of the house")
    assert len(dead.input) > 20_000
    machine.boot()
    seen = [{"text": data["text"], "id": data["id"]} for data in given]  # another order is the same
    assert w() == 2
    machine.boot()
    seen = [{**data, "text": data["text"] + "."} for data in given]

    @workflow
    def again() -> int:
        done = [send(data) for data in given]
        die()
        return len(done)

    machine.ran.clear()
    with pytest.raises(Died):
        again()
    given[0]["text"] += "!"
    machine.boot()
    with pytest.raises(Drift):
        again()


@pytest.mark.parametrize(
    "options",
    [{"ensure": 5}, {"max_repeats": 0}, {"max_repeats": True}, {"max_repeats": 2.0}, {"input": "none"}],
)
def test_mistakes_in_options_are_found_when_the_script_is_loaded(options: dict[str, Any]) -> None:
    """Each is refused where it stands."""
    with pytest.raises(OptionError):
        step(**options)(lambda: None)


def test_an_async_check_is_refused() -> None:
    """Its coroutine would be taken for a good result."""

    async def check(result: object) -> bool:
        return False

    with pytest.raises(OptionError, match="ensure"):
        step(lambda: None, ensure=check, name="x")


def test_a_result_that_cannot_be_shown_is_named_by_its_type(machine: Machine) -> None:
    """The complaint of the check comes before that it cannot be stored."""

    @step(ensure=lambda result: "is a socket", retry=None)
    def connect() -> Any:
        return object()

    @workflow
    def w() -> None:
        connect()

    with pytest.raises((EnsureFailed, NotStorable), match="a value of type object"):
        w()
