"""Between a failure and the re-run the user edits the script: nothing done is lost, nothing is silently done again."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from itertools import product
from typing import Any

import pytest

from conftest import Died, Machine, Scripts, Trouble
from perdure import defer, step, workflow
from perdure.errors import Drift, NotDecodable


@dataclass
class Before:
    n: int


@dataclass
class After:
    number: int


def steps(machine: Machine) -> tuple[Any, Any]:
    """A step that succeeds, and one that fails the first time."""

    @step
    def work(what: str, n: int = 0) -> str:
        machine.ran.append((what, n) if n else what)
        return what

    @step(retry=None)
    def end() -> None:
        machine.ran.append("end")
        if machine.ran.count("end") == 1:
            raise Trouble

    return work, end


def test_insert_remove_and_reorder(machine: Machine) -> None:
    """Steps of other names come, go and change places; what was done keeps its results."""
    work, end = steps(machine)
    named = {name: step(work._spec.fn, name=name) for name in "abcd"}

    def version(letters: str) -> Any:
        order = list(letters)  # which can change, so that it is no input of the workflow

        @workflow(name="wf")
        def wf() -> list[str]:
            results = [named[name](name) for name in order]
            end()
            return results

        return wf

    with pytest.raises(Trouble):
        version("abc")()
    machine.boot()
    machine.ran.clear()
    machine.ran.append("end")
    assert version("dcb")() == ["d", "c", "b"]
    assert machine.ran == ["end", "d", "end"]


def test_drift_is_refused_before_anything_is_executed(machine: Machine) -> None:
    """The error shows recorded and new inputs and the commands that get out of it; undoing the edit does as well."""
    work, end = steps(machine)
    argument = ["monday"]

    @workflow
    def wf() -> None:
        work(argument[0], n=2)
        end()

    with pytest.raises(Trouble):
        wf()
    machine.ran.clear()
    argument[0] = "tuesday"
    with pytest.raises(Drift) as drift:
        wf()
    assert machine.ran == []
    text = str(drift.value)
    for part in (
        "recorded: work('monday', 2)  (step #1 of run wf-0000000001)",
        "now:      work('tuesday', 2)",
        "perdure resume wf-0000000001 --accept-changes",
        "perdure fork wf-0000000001 --from work",
        "[code-drift]",
    ):
        assert part in text
    assert "is drawn at each run" not in text
    argument[0] = "monday"
    machine.ran.append("end")
    wf()
    assert machine.ran == ["end", "end"]


def test_a_time_that_is_drawn_at_each_run_is_drift_that_says_how_to_draw_it(machine: Machine) -> None:
    """Beside the ways out for an edit: nobody has made one."""
    work, end = steps(machine)
    times = iter(["2026-11-29 10:00", "2026-11-29 11:00"])

    @workflow
    def wf() -> None:
        work(next(times), n=2)
        end()

    with pytest.raises(Trouble):
        wf()
    with pytest.raises(Drift) as drift:
        wf()
    assert "is drawn at each run:        draw it with perdure.now()" in str(drift.value)


def test_drift_goes_past_except_exception(machine: Machine) -> None:
    """`except Exception` around a step does not swallow it, nor does clean-up go on executing steps."""
    work, end = steps(machine)
    argument = ["monday"]

    @workflow
    def wf() -> None:
        try:
            work(argument[0])
        except Exception:
            machine.ran.append("swallowed")
        finally:
            work("cleaning", 1)
        end()

    with pytest.raises(Trouble):
        wf()
    machine.ran.clear()
    argument[0] = "tuesday"
    with pytest.raises(Drift, match="now:      work\\('tuesday'\\)"):
        wf()
    assert machine.ran == []


@pytest.mark.parametrize("collect", [False, True])
def test_drift_in_a_branch(machine: Machine, collect: bool) -> None:
    """In a gather too, also one that collects exceptions as results."""
    argument = [1]

    @step
    async def work(n: int) -> int:
        machine.ran.append(n)
        return n

    @step(retry=None)
    async def end() -> None:
        raise Trouble

    @workflow
    async def wf() -> None:
        await asyncio.gather(work(0), work(argument[0]), return_exceptions=collect)
        await end()

    with pytest.raises(Trouble):
        asyncio.run(wf())
    machine.ran.clear()
    argument[0] = 2
    with pytest.raises(Drift):
        asyncio.run(wf())
    assert machine.ran == []


def test_accepted_changes(machine: Machine) -> None:
    """After `accept` what misses is new, and what matches keeps its result."""
    work, end = steps(machine)
    argument = ["monday"]

    @workflow
    def wf() -> list[str]:
        results = [work("first"), work(argument[0])]
        end()
        return results

    with pytest.raises(Trouble):
        wf()
    argument[0] = "tuesday"
    machine.engine.store.accept(machine.engine.store.run("wf-0000000001").rid)
    machine.boot()
    assert wf() == ["first", "tuesday"]
    assert machine.ran == ["first", "monday", "end", "tuesday", "end"]


def test_a_key_with_other_inputs_is_drift(machine: Machine) -> None:
    """A key says that it is the same call; other inputs contradict that."""
    amount = [10]

    @step(key=lambda order, amount: order)
    def charge(order: str, amount: int) -> int:
        machine.ran.append(order)
        return amount

    @step(retry=None)
    def end() -> None:
        raise Trouble

    @workflow
    def wf() -> None:
        charge("o1", amount[0])
        end()

    with pytest.raises(Trouble):
        wf()
    amount[0] = 20
    with pytest.raises(Drift, match=r"charge\('o1', 10\)[\s\S]*charge\('o1', 20\)"):
        wf()
    assert machine.ran == ["o1"]


def test_renamed_and_new_default_parameters_are_no_drift(machine: Machine) -> None:
    """The same values in the same places are the same call, whatever the parameters are called."""
    trouble = [True]

    def version(fn: Any) -> Any:
        work = step(fn, name="work")

        @step(retry=None)
        def end() -> None:
            if trouble[0]:
                raise Trouble

        @workflow(name="wf")
        def wf() -> int:
            result = work(1)
            end()
            return result

        return wf

    def before(n: int) -> int:
        return n

    def after(number: int, extra: str = "none") -> int:
        raise AssertionError("it was done before")

    with pytest.raises(Trouble):
        version(before)()
    trouble[0] = False
    assert version(after)() == 1


def test_a_result_that_no_longer_fits_is_refused(machine: Machine) -> None:
    """The declared type of a result has changed: the run stops and names step and type."""

    def version(kind: Any) -> Any:
        def work() -> object:
            return kind(1)

        work.__annotations__["return"] = kind
        work_step = step(work, name="work")

        @step(retry=None)
        def end() -> None:
            raise Trouble

        @workflow(name="wf")
        def wf() -> None:
            try:
                work_step()
            except Exception:
                return
            end()

        return wf

    with pytest.raises(Trouble):
        version(Before)()
    with pytest.raises(NotDecodable, match="'work'"):
        version(After)()


def test_the_place_where_long_inputs_differ_is_shown(machine: Machine) -> None:
    """Not what both begin with, again and again."""
    prompt = ["the same long prompt " * 40 + "and one order: 1"]

    @step
    def ask_at_length(text: str) -> str:
        return "answer"

    _, end = steps(machine)

    @workflow
    def w_at_length() -> None:
        ask_at_length(prompt[0])
        end()

    with pytest.raises(Trouble):
        w_at_length()
    machine.boot()
    prompt[0] = prompt[0].replace("order: 1", "order: 2")
    with pytest.raises(Drift) as drift:
        w_at_length()
    recorded, now = [line for line in drift.value.what.splitlines() if "recorded:" in line or "now:" in line]
    assert "and one order: 1" in recorded
    assert "and one order: 2" in now


CLASSES = """
import os, sys
from dataclasses import dataclass
import msgspec, pydantic
from perdure import defer, step, workflow

@dataclass
class A:
    n: int
    MORE
class B(msgspec.Struct):
    n: int
    MORE
class C(pydantic.BaseModel):
    n: int
    MORE

@step
def work(order: A | B | C) -> int:
    print("WORK", order.n, flush=True)
    return order.n

@step
def bare(order) -> int:
    return work._spec.fn(order)

@workflow
def part(order: A) -> int:
    return work(order)

@workflow
def whole(order: A) -> int:
    found = sum(work(cls(n=1)) + bare(cls(n=2)) for cls in (A, B, C))
    found += sum(work.map([A(n=3), A(n=4)]).results) + part(A(n=5))
    if "MORE" in "MO" "RE": os.kill(os.getpid(), 9)
    return found + order.n

print("RESULT", whole(A(n=6, **GIVEN)))
"""


def test_a_field_that_a_class_gains_with_a_default_is_no_change(scripts: Scripts) -> None:
    """Of the inputs of the run itself, of steps, items and child runs, annotated or not; another value is a change."""

    def life(more: str, given: str = "{}") -> tuple[int, str, str]:
        text = CLASSES.replace('if "MORE" in "MO" "RE"', f"if not {more!r}").replace("MORE", more or "pass")
        done = scripts.run(scripts.write(text.replace("GIVEN", given)))
        return done.returncode, done.stdout, done.stderr

    assert life("")[0] == -signal.SIGKILL
    said = life("currency: str = 'eur'", "{'currency': 'usd'}")[2]
    assert "is unfinished, with other arguments" in said
    assert "is unfinished" not in (last := life("currency: str = 'eur'"))[2]
    assert last[:2] == (0, "RESULT 27\n")


def orders(machine: Machine, *, gained: bool) -> Any:
    """A script whose class has gained a field, and the workflows of which `ways` says how they are called."""
    more: list[Any] = [("vip", bool, field(default=False))] if gained else []
    order = make_dataclass("Order", [("n", int), *more])
    order.__module__ = __name__
    machine.boot()

    def pay(of: Any) -> int:
        machine.ran.append(of.n)
        if of.n < 0:
            raise Trouble
        return int(of.n)

    def body(of: Any) -> int:
        found: int = paid(of)
        end("part")
        return found

    for fn in (pay, body):
        fn.__annotations__["of"] = order
    body.__qualname__ = "body"  # at the top level of a file, as far as enqueueing looks
    paid = step(pay, retry=None)
    part, once = workflow(body, name="part"), workflow(body, name="once", once=True)

    @step(retry=None)
    def end(of: str) -> None:
        if of in machine.ran:
            raise Trouble if "fails" in machine.ran else Died

    ways: dict[str, Any] = {
        "child": lambda: [part(order(1)), part(order(1)), part(order(2))],
        "id": lambda: part.with_options(id="k")(order(1)),
        "once": lambda: once(order(1)),
        "enqueue": lambda: part.enqueue(order(1)),
        "enqueue with id": lambda: part.with_options(id="k").enqueue(order(1)),
        "enqueue once": lambda: once.enqueue(order(1)),
    }

    bad: dict[str, Any] = {
        "step": lambda: paid(order(-1)),
        "item": lambda: paid.map([order(-1), order(-1)], max_dead=None).results,
        "child": lambda: part(order(-1)),
        "id": lambda: part.with_options(id="k")(order(-1)),
        "once": lambda: once(order(-1)),
    }

    def main(way: str, fails: bool = False) -> None:
        for _ in range(1 + fails):
            with suppress(*[Trouble] * fails):
                (bad if fails else ways)[way]()
        end("main")

    return workflow(main, name="main"), ways


@pytest.mark.parametrize("way", ["step", "item", "child", "id", "once"])
def test_a_failure_that_was_handled_is_found_again_when_a_class_has_gained_a_field(machine: Machine, way: str) -> None:
    """Of a step, an item, a child run and runs by an id or run once: none is tried again."""
    main, _ = orders(machine, gained=False)
    machine.ran += ["main", "dies"]
    with suppress(Died):
        main(way, True)
    assert -1 in machine.ran
    machine.ran.clear()
    main, _ = orders(machine, gained=True)
    main(way, True)
    assert machine.ran == []


@pytest.mark.parametrize("how", ["dies", "fails"])
@pytest.mark.parametrize(
    ("way", "at"),
    [
        *product(["child", "id", "once"], ["part", "main"]),
        *product(["enqueue", "enqueue with id", "enqueue once"], ["main"]),
    ],
)
def test_runs_that_a_workflow_calls_are_the_same_when_a_class_has_gained_a_field(
    machine: Machine, way: str, how: str, at: str
) -> None:
    """Begun or done, by their inputs, by an id, once or in a queue: none is executed, or put into a queue, again."""
    main, _ = orders(machine, gained=False)
    machine.ran += [at, how]
    with suppress(Died, Trouble):
        main(way)
    machine.ran[:] = [each for each in machine.ran if type(each) is int]
    main, _ = orders(machine, gained=True)
    main(way)
    queued = way.startswith("enqueue")
    assert machine.ran == ([] if queued else [1, 1, 2] if way == "child" else [1])
    runs = [name for name, _ in machine.runs() if name != "main"]
    assert len(runs) == (3 if way == "child" else 1)


def test_a_deferred_call_is_the_same_when_a_class_has_gained_a_field(machine: Machine) -> None:
    """It is due once, with what it was given when it was deferred."""

    def script(*, gained: bool) -> Any:
        more: list[Any] = [("vip", bool, field(default=False))] if gained else []
        order = make_dataclass("Order", [("n", int), *more])
        order.__module__ = __name__
        machine.boot()

        def cancel(of: Any) -> None:
            machine.ran.append(of.n)

        cancel.__annotations__["of"] = order
        cancelled = step(cancel, retry=None)

        @step(retry=None)
        def pay() -> None:
            if not gained:
                raise Died

        @workflow
        def main() -> None:
            defer(cancelled, order(1))
            pay()

        return main

    with suppress(Died):
        script(gained=False)()
    script(gained=True)()
    assert machine.ran == [1]


@pytest.mark.parametrize("at", ["part", "main"])
@pytest.mark.parametrize("way", ["id", "once"])
def test_a_run_called_by_hand_is_the_same_when_a_class_has_gained_a_field(machine: Machine, way: str, at: str) -> None:
    """A run with an id, and one that is run once, done or not; put into a queue, nothing is added."""
    _, ways = orders(machine, gained=False)
    machine.ran += [at, "fails"]
    with suppress(Trouble):
        ways[way]()
    machine.ran[:] = [1]
    _, ways = orders(machine, gained=True)
    ways[way]()
    ways[way]()
    ways[{"id": "enqueue with id", "once": "enqueue once"}[way]]()
    assert machine.ran == [1]
    assert len(machine.runs()) == 1


def test_what_is_deferred_or_held_by_containers_is_the_same_when_a_class_has_gained_a_field(machine: Machine) -> None:
    """Of a step without annotations, nothing is executed again; a clean-up is registered once."""

    def life(*more: Any) -> Any:
        order = make_dataclass("Order", [("n", int), *more])
        order.__module__ = __name__
        machine.boot()

        def take(of: Any) -> None:
            machine.ran.append("take")

        def tidy(of: Any) -> None:
            machine.ran.append("tidy")

        del take.__annotations__["of"]
        tidy.__annotations__["of"] = order
        taken, tidied = step(take), step(tidy)

        @workflow(name="main")
        def main() -> None:
            for of in ([order(1)], (order(1), 2), {"k": [order(1)]}):
                taken(of)
            for n in (1, 2, 1):
                defer(tidied, order(n))
            if "take" in machine.ran:
                raise Trouble

        return main

    with pytest.raises(Trouble):
        life()()
    assert machine.ran == ["take"] * 3
    machine.ran.clear()
    life(("vip", bool, field(default=False)))()
    assert machine.ran == ["tidy"] * 3


def test_what_an_instance_goes_by_is_the_same_when_a_class_in_it_has_gained_a_field(machine: Machine) -> None:
    """Also of a method and a partial that are steps; no call is made again, and another key is another call."""

    key = [1]

    def life(*more: Any) -> Any:
        order = make_dataclass("Order", [("n", int), *more], frozen=True)
        order.__module__ = __name__
        machine.boot()

        class Service:
            def __init__(self, of: Any) -> None:
                self.of = of

            def __perdure_key__(self) -> Any:
                return self.of

            @step(retry=None)
            def send(self, n: Any) -> None:
                machine.ran.append(("send", n))

            def plain(self, n: int) -> None:
                machine.ran.append(("plain", n))

        def given(of: Any, n: int) -> None:
            machine.ran.append(("given", n))

        steps = [Service((order(*key), 1)).send, Service({"of": order(*key)}).send, step(Service(order(*key)).plain)]

        @workflow(name="main")
        def main() -> None:
            for each in [*steps, step(partial(given, order(*key)), name="given")]:
                each(2)
            Service("named").send(order(3))
            Service(order(*key)).send.map([1, 2])
            if ("plain", 2) in machine.ran:
                raise Trouble

        return main

    with pytest.raises(Trouble):
        life()()
    assert len(machine.ran) == 7
    machine.ran.clear()
    key[0] = 2
    with pytest.raises(Drift):
        life(("vip", bool, field(default=False)))()
    key[0] = 1
    life(("vip", bool, field(default=False)))()
    assert machine.ran == []
