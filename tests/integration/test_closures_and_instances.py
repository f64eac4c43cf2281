"""Promise P13: no closure and no instance gets the recorded result of another."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.script_places import JOB, Place

from conftest import Machine
from perdure import Secret, step, workflow
from perdure.errors import Drift, DuplicateStep, NotStorable


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder of its own."""
    return Place(tmp_path)


@pytest.mark.usefixtures("machine")
def test_closures_over_values_are_told_apart() -> None:
    """What a step has closed over is part of its inputs: in another order, each gets its own result, or it is drift."""

    def scaler(factor: int):  # type: ignore[no-untyped-def]
        @step(retry=None)
        def scale(x: int) -> int:
            return x * factor

        return scale

    crash = [True]

    def main(factors: list[int]) -> list[int]:
        found = [scaler(factor)(10) for factor in factors]
        if crash:
            raise Trouble
        return found

    first = workflow(main, name="main")
    factors = [2, 3]
    named = workflow(lambda: main(factors), name="named")
    with pytest.raises(Trouble):
        named()
    factors[:] = [3, 2]
    crash.clear()
    assert named() == [30, 20]
    crash.append(True)
    factors[:] = [7]
    with pytest.raises(Trouble):
        named()
    factors[:] = [8]
    crash.clear()
    with pytest.raises(Drift, match="factor=7"):
        named()
    assert first([4]) == [40]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("how", ["cell", "default"])
def test_closures_that_no_record_distinguishes_are_refused(how: str) -> None:
    """Two of one code that differ in what cannot be an input, in one run; each alone is fine."""
    ran: list[object] = []

    class Client:
        pass

    def made(client: Client):  # type: ignore[no-untyped-def]
        def get() -> None:
            ran.append(client)

        def kept(client: Client = client) -> None:
            ran.append(client)

        return step({"cell": get, "default": kept}[how], name="get", retry=None)

    @workflow
    def one() -> None:
        client = Client()
        for _ in range(2):
            made(client)()

    @workflow
    def two() -> None:
        for _ in range(2):
            made(Client())()

    one()
    ran.clear()
    with pytest.raises(DuplicateStep):
        two()
    assert len(ran) == 1


class Purse:
    """It cannot be stored, and does not say what it goes by."""

    def __init__(self, name: str) -> None:
        self.name, self.lock = name, threading.Lock()

    def balance(self) -> str:
        return self.name

    def __call__(self) -> str:
        return self.name


class Named(Purse):
    def __perdure_key__(self) -> str:
        return self.name


BINDINGS: dict[str, Callable[[Purse], Callable[[], str]]] = {
    "method": lambda purse: purse.balance,
    "partial": lambda purse: functools.partial(Purse.balance, purse),
    "partial of a method": lambda purse: functools.partial(purse.balance),
    "instance that is called": lambda purse: purse,
    "method in C": lambda purse: purse.lock.locked,
}


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_step_is_not_bound_to_an_instance_that_nothing_distinguishes(binding: str) -> None:
    """In a function, which may make several: a later life would give one purse the balance of another."""
    purse, options = Purse("a"), dict[str, Any]()

    @workflow
    def report() -> object:
        return step(BINDINGS[binding](purse), name="balance", retry=None, **options)()

    with pytest.raises(NotStorable, match="top level of the module"):
        report()
    options["key"] = lambda: purse.name
    assert report() in ("a", False)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("binding", ["method", "partial", "instance that is called"])
def test_a_step_that_is_bound_to_an_instance_that_says_what_it_goes_by(binding: str) -> None:
    """Each has its own result, in whatever order a later life calls them."""
    names, crash = ["b", "c"], [True]

    @workflow
    def report() -> list[str]:
        found = [step(BINDINGS[binding](Named(name)), name="balance", retry=None)() for name in names]
        if crash:
            raise Trouble
        return found

    with pytest.raises(Trouble):
        report()
    names.reverse()
    crash.clear()
    assert report() == ["c", "b"]


ONLY_PURSE = Purse("only")
AT_THE_TOP = [step(one, name=f"{place}", retry=None) for place, one in enumerate([ONLY_PURSE.balance, Purse("other")])]


@pytest.mark.usefixtures("machine")
def test_a_step_at_the_top_level_is_bound_to_what_the_module_has() -> None:
    """There is one of it, as of the functions of the module."""

    @workflow
    def report() -> list[str]:
        return [each() for each in AT_THE_TOP]

    assert report() == ["only", "other"]


@pytest.mark.usefixtures("machine")
def test_a_counter_or_a_flag_is_no_input() -> None:
    """A variable that is assigned in several places is a state: an unedited script goes on."""
    count, broken = 0, True

    @workflow
    def main() -> int:
        seen = 0

        @step(retry=None)
        def work(n: int) -> int:
            nonlocal count, seen
            count += 1
            seen += 1
            if broken and n == 2:
                raise Trouble
            return n

        return sum(work(n) for n in range(4))

    with pytest.raises(Trouble):
        main()
    broken = False
    assert main() == 6
    assert count == 5


class Trouble(Exception):
    """Ends a run."""


class Account:
    """An instance that cannot be stored."""

    def __init__(self, name: str) -> None:
        self.name, self.lock = name, object()

    @step(retry=None)
    def balance(self) -> str:
        return self.name

    @step(retry=None, key=lambda self: self.name)
    def keyed(self) -> str:
        return self.name

    @step(retry=None)
    def pay(self, n: int) -> str:
        return f"{self.name}{n}"


class Known(Account):
    """One that says what it goes by."""

    def __perdure_key__(self) -> str:
        return self.name


@pytest.mark.usefixtures("machine")
def test_no_account_gets_the_balance_of_another() -> None:
    """An instance that cannot be stored is refused, or says what it goes by: then each call has its own result."""

    @workflow
    def refused() -> str:
        return Account("a").balance()

    with pytest.raises(NotStorable, match="__perdure_key__"):
        refused()

    @workflow
    def mapped() -> object:
        return Account("a").pay.map([1], key=lambda n: n).results

    with pytest.raises(NotStorable, match="__perdure_key__"):
        mapped()
    names, crash = ["b", "c"], [True]

    @workflow
    def report() -> list[object]:
        found: list[object] = []
        for name in names:
            found += [Known(name).balance(), Account(name).keyed(), *Known(name).pay.map([1], key=lambda n: n).results]
        if crash:
            raise Trouble
        return found

    with pytest.raises(Trouble):
        report()
    names.reverse()
    crash.clear()
    assert report() == ["c", "c", "c1", "b", "b", "b1"]


def test_a_call_by_another_key_gets_no_result_of_an_instance_that_looks_the_same(machine: Machine) -> None:
    """Of what cannot be stored only the type is: the keys tell the calls apart, also when the script was edited."""
    names = ["b", "c"]

    @workflow
    def report() -> list[str]:
        found = [Account(name).keyed() for name in names]
        if names == ["b", "c"]:
            raise Trouble
        return found

    with pytest.raises(Trouble):
        report()
    names[:] = ["d", "b"]
    machine.boot()
    with pytest.raises(Drift) as drift:
        report()
    assert "now:      Account.keyed(<Account>) of key 'd'" in drift.value.what
    assert "recorded: Account.keyed(<Account>) of key 'c'" in drift.value.what
    names[:] = ["c", "b"]
    machine.boot()
    assert report() == ["c", "b"]


def test_a_call_by_another_key_gets_no_result_of_another_secret(machine: Machine) -> None:
    """Nothing of it is stored that tells the calls apart but their keys."""
    names = ["b", "c"]

    @step(retry=None, key=lambda secret: secret.reveal()[0])
    def ask(secret: Secret[str]) -> str:
        return secret.reveal()[0]

    @workflow
    def report() -> list[str]:
        found = [ask(Secret(name)) for name in names]
        if names == ["b", "c"]:
            raise Trouble
        return found

    with pytest.raises(Trouble):
        report()
    names[:] = ["d", "b"]
    machine.boot()
    with pytest.raises(Drift):
        report()


def test_the_record_of_a_function_is_written_with_its_first_result(place: Place) -> None:
    """Killed right behind its first step, a run says whose function that was."""
    place.write(JOB.replace("    perdure.defer(clean, 1)\n", ""), "job.py")
    place.python("job.py", status=-9)
    import apsw

    connection = apsw.Connection(str(place.folder / ".perdure" / "state.db"))
    assert list(connection.execute("SELECT name, module, qualname, file FROM function ORDER BY name")) == [
        ("charge", "__main__", "charge", "job.py"),
    ]
    connection.close()
    assert os.path.exists(place.folder / "crashed")
