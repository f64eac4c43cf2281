"""A failure that the workflow handled is history: the except clause is taken on resume as on the first run."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
from collections.abc import AsyncIterator, Callable
from http.client import HTTPMessage
from typing import Any
from urllib.error import HTTPError

import httpx
import pytest
from fragile_steps import Declined, dying, failing

from conftest import Died, Machine
from perdure import step, workflow
from perdure.cli import main
from perdure.engines.local import engine as local


def test_a_handled_failure_is_replayed(machine: Machine) -> None:
    """The except clause is taken on resume as on the first run, with an error of the same class and content."""
    fragile, death = failing(machine, lambda: Declined(402, "no funds")), dying(machine)
    seen: list[Any] = []

    @step
    def fallback(reason: str) -> str:
        machine.ran.append("fallback")
        return f"instead: {reason}"

    @workflow
    def wf() -> str:
        try:
            result = fragile()
        except Declined as error:
            seen.append((type(error), error.args, str(error), error.code, error.reason))
            result = fallback(error.reason)
        death()
        return result

    with pytest.raises(Died):
        wf()
    machine.boot()
    assert wf() == "instead: no funds"
    assert seen[0] == seen[1] == (Declined, ("declined: no funds",), "declined: no funds", 402, "no funds")
    assert machine.ran == ["fragile 0", "fallback", "death", "death"]


def test_several_handled_failures(machine: Machine) -> None:
    """Each call has its own failure."""
    fragile, death = failing(machine, lambda: Declined(402, "no")), dying(machine)

    @workflow
    def wf() -> list[str]:
        results = []
        for n in range(3):
            try:
                results.append(fragile(n))
            except Declined as error:
                results.append(error.reason)
        death()
        return results

    with pytest.raises(Died):
        wf()
    machine.boot()
    assert wf() == ["no", "no", "no"]
    assert machine.ran == ["fragile 0", "fragile 1", "fragile 2", "death", "death"]


def test_a_handled_child_is_replayed(machine: Machine) -> None:
    """A child run that failed and was handled is not entered again."""
    fragile, death = failing(machine, lambda: Declined(402, "no")), dying(machine)

    @workflow
    def inner() -> str:
        return fragile()

    @workflow
    def outer() -> str:
        try:
            result = inner()
        except Declined as error:
            result = error.reason
        death()
        return result

    with pytest.raises(Died):
        outer()
    machine.boot()
    assert outer() == "no"
    assert machine.ran == ["fragile 0", "death", "death"]


class Proxy(Exception):
    """Answers each look at an attribute of an answer that there is not, as wrappers of HTTP clients do."""

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["body"][name]


def test_a_failure_whose_attributes_fail_is_kept_like_any_other(machine: Machine) -> None:
    """It comes through as it is, with its notes, is history on resume, and an item that fails with it is parked."""
    fragile, death = failing(machine, lambda: Proxy("card declined")), dying(machine)
    noted: list[str] = []

    @workflow
    def wf() -> str:
        try:
            fragile()
        except Proxy as error:
            noted.append(error.__dict__["__notes__"][0])
            caught = str(error)
        batch = fragile.map([1, 2])
        death()
        return f"{caught}, {len(batch.dead)} parked"

    with pytest.raises(Died):
        wf()
    machine.boot()
    assert wf() == "card declined, 2 parked"
    assert all("failed at its first attempt" in note for note in noted)
    assert len(noted) == 2
    assert machine.ran == ["fragile 0", "fragile 1", "fragile 2", "death", "death"]


def test_a_run_that_fails_for_failures_it_has_handled_says_what_tries_them(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """It collects them and raises a summary: no run of the script tries them again, and what does so is named."""
    fails = [True]

    @step(retry=None)
    def load(n: int) -> int:
        machine.ran.append(n)
        if n == 2 and fails:
            raise PermissionError("no")
        return n

    @workflow
    def collects() -> None:
        failed = 0
        for n in (1, 2, 3):
            try:
                load(n)
            except PermissionError:
                failed += 1
        if failed:
            raise Summary

    for _ in range(2):
        with pytest.raises(Summary) as raised:
            collects()
        said = [note for note in raised.value.__notes__ if "perdure fork" in note]
        assert len(said) == 1
        assert "1 failure that it has handled is history" in said[0]
        assert said[0].endswith("--from '#2'")
    assert machine.ran == [1, 2, 3]
    local.close_all()
    assert main(["why", "last"]) == 0
    assert said[0].removeprefix("perdure: ") in " ".join(capsys.readouterr().out.split())


class Summary(Exception):
    pass


class Payment:
    """No data: once the exception that it hangs on is read back, something stands in for it."""

    def __init__(self, id: str) -> None:
        self.id = id

    def label(self) -> str:
        return f"payment {self.id}"


class Refused(Exception):
    def __init__(self, message: str, payment: Any) -> None:
        super().__init__(message)
        self.payment = payment


def refusing(machine: Machine) -> tuple[Any, Any, Any]:
    """A step that is refused the first time, one that tells, and one in which the process dies the first time."""

    @step(retry=None)
    def charge() -> str:
        machine.ran.append("charge")
        if machine.ran.count("charge") == 1:
            raise Refused("no funds", Payment("p1"))
        return "charged"

    @step
    def tell(what: str) -> str:
        machine.ran.append(what)
        return what

    return charge, tell, dying(machine)


@pytest.mark.parametrize(
    "fails",
    [lambda refused: 1 / (refused is None), lambda refused: refused.payment.label(), lambda refused: refused.payment],
    ids=["what the handler does", "what stands in cannot do it", "what stands in cannot be saved"],
)
def test_an_error_in_a_handler_tries_nothing_again_that_an_earlier_life_had_gone_past(
    machine: Machine, fails: Callable[[Refused], Any]
) -> None:
    """What was refused, and told, is not asked for once more because the handler cannot do now what it did then."""
    charge, tell, death = refusing(machine)
    ways: list[Callable[[Refused], Any]] = [lambda refused: "payment p1", fails]

    @workflow
    def wf() -> str:
        try:
            result = charge()
        except Refused as refused:
            result = tell(ways[-1](refused))
        death()
        return result

    way = ways.pop()
    with pytest.raises(Died):
        wf()
    for _ in range(2):
        machine.boot()
        ways.append(way)
        with pytest.raises(Exception) as caught:  # noqa: PT011  each fails in its own way, and leaves the same behind
            wf()
        assert "1 failure that it has handled is history" in "".join(caught.value.__notes__)
        ways.pop()
    machine.boot()
    assert wf() == "payment p1"
    assert machine.ran == ["charge", "payment p1", "death", "death"]


def test_the_same_in_a_task_whose_handler_asks_what_stands_in(machine: Machine) -> None:
    """There the records behind the failure may be another task's, so what the error came from decides."""
    charge, tell, death = refusing(machine)

    async def pay() -> str:
        try:
            return str(charge())
        except Refused as refused:
            return str(tell(refused.payment.label()))

    @workflow
    async def wf() -> str:
        result = await asyncio.create_task(pay())
        death()
        return result

    with pytest.raises(Died):
        asyncio.run(wf())
    machine.boot()
    with pytest.raises(AttributeError, match="was read back from a record without 'label'"):
        asyncio.run(wf())
    assert machine.ran == ["charge", "payment p1", "death"]


def refused(machine: Machine) -> Exception:
    """An error whose body is read from what it came by."""
    machine.ran.append("refused")
    answer = io.BufferedReader(io.BytesIO(b"no such order"))  # type: ignore[arg-type]
    return HTTPError("http://api.test/", 409, "Conflict", HTTPMessage(), answer)


@pytest.mark.parametrize("kind", ["step", "async step", "child"])
def test_a_handler_reads_the_same_body_in_a_later_life(machine: Machine, kind: str) -> None:
    """The error is the cause of what a step, or a child run, has raised: the body was not read before."""
    death = dying(machine)
    seen: list[bytes] = []

    def fail() -> None:
        try:
            raise refused(machine)
        except HTTPError as error:
            raise Declined(409, reason="no order") from error

    async def fail_later() -> None:
        await asyncio.sleep(0)
        fail()

    def look(error: Declined) -> None:
        seen.append(error.__cause__.read())  # type: ignore[union-attr]

    call: Any = {"step": step(retry=None), "async step": step(retry=None), "child": workflow}[kind](
        fail_later if kind == "async step" else fail
    )

    @workflow
    def wf() -> None:
        try:
            call()
        except Declined as error:
            look(error)
        death()

    @workflow
    async def awaited() -> None:
        try:
            await call()
        except Declined as error:
            look(error)
        death()

    def run() -> None:
        if kind == "async step":
            asyncio.run(awaited())
        else:
            wf()

    with pytest.raises(Died):
        run()
    machine.boot()
    run()
    assert machine.ran == ["refused", "death", "death"]
    assert seen == [b"no such order"] * 2


class AwaitedBody(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        yield b"no such order"


def test_a_child_run_in_a_loop_keeps_a_body_that_is_awaited(machine: Machine) -> None:
    """Its function was left by an error of `AsyncClient`, outside of steps; both lives of its caller read it."""
    death = dying(machine)
    seen: list[bytes] = []

    @workflow
    async def ordering() -> None:
        machine.ran.append("ordering")
        request = httpx.Request("GET", "http://api.test/")
        httpx.Response(409, stream=AwaitedBody(), request=request).raise_for_status()

    @workflow
    async def wf() -> None:
        try:
            await ordering()
        except httpx.HTTPStatusError as error:
            seen.append(error.response.content)
        death()

    with pytest.raises(Died):
        asyncio.run(wf())
    machine.boot()
    asyncio.run(wf())
    assert machine.ran == ["ordering", "death", "death"]
    assert seen == [b"no such order"] * 2


def ctrl_c() -> None:
    raise KeyboardInterrupt


def ctrl_c_made_an_exit() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(3)


def exit_of_a_handler() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        terminations.append(before)


terminations: list[Any] = []
"""What handled SIGTERM before: it is put back when the run was left."""


def declined_once(machine: Machine, lives: list[int]) -> Callable[[], str]:
    """A step that fails in the first life."""

    @step(retry=None)
    def charge() -> str:
        machine.ran.append("charge")
        if len(lives) == 1:
            raise PermissionError("declined")
        return "paid"

    return charge


@pytest.mark.parametrize("interrupt", [ctrl_c, ctrl_c_made_an_exit, exit_of_a_handler])
@pytest.mark.parametrize("tidies", [False, True])
def test_what_comes_from_outside_while_a_failure_is_handled_takes_nothing_back(
    machine: Machine, interrupt: Callable[[], None], tidies: bool
) -> None:
    """Ctrl-C says nothing about the failure that is being handled: the next life takes the same branch, as after a
    kill, though the call would go well by now."""
    lives: list[int] = []
    charge = declined_once(machine, lives)

    @step
    def note(text: str) -> None:
        machine.ran.append(text)

    @workflow
    def wf() -> str:
        lives.append(1)
        try:
            charge()
        except PermissionError:
            note("released")
            try:
                if len(lives) == 1:
                    interrupt()
            finally:
                if tidies:
                    note("tidied")
            note("told")
            return "declined"
        return "shipped"

    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            wf()
    finally:
        while terminations:
            signal.signal(signal.SIGTERM, terminations.pop())
    machine.boot()
    assert wf() == "declined"
    assert machine.ran == ["charge", "released", *["tidied"] * tidies, "told"]


@pytest.mark.parametrize("says", ["sys.exit", "Halt"])
def test_a_failure_that_the_workflow_exits_for_is_tried_again(machine: Machine, says: str) -> None:
    """A control of the test above: an exit of the workflow's own code is about the failure that it handles."""
    lives: list[int] = []
    charge = declined_once(machine, lives)

    class Halt(BaseException):
        pass

    @workflow
    def wf() -> str:
        lives.append(1)
        try:
            return charge()
        except PermissionError:
            if says == "sys.exit":
                sys.exit(2)
            raise Halt from None

    with pytest.raises((SystemExit, Halt)):
        wf()
    machine.boot()
    assert wf() == "paid"
    assert machine.ran == ["charge", "charge"]
