"""A failure that the workflow handled is history: the except clause is taken on resume as on the first run."""

from __future__ import annotations

from typing import Any

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
