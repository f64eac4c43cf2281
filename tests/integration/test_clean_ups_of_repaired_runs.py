"""Repairs add up: what a run deferred is made at its final end, once."""

from __future__ import annotations

import pytest
from tests.integration.fork_scripts import ETL, HEAD, SAGA, Shop

from conftest import Scripts


@pytest.fixture
def etl(scripts: Scripts) -> Shop:
    return Shop(scripts, ETL)


@pytest.fixture
def saga(scripts: Scripts) -> Shop:
    return Shop(scripts, SAGA)


def test_a_child_that_has_failed_for_good_is_cleaned_up_with_its_parent(scripts: Scripts) -> None:
    """Its deferred calls wait while the parent may go on with it, and are made once, at the parent's final end."""
    shop = Shop(
        scripts,
        HEAD
        + """
@step
def remove(name: str) -> None:
    note(f"remove {name}")

@step(retry=None)
def work() -> None:
    raise ValueError("no")

@step(retry=None)
def after() -> None:
    if os.path.exists("fail"):
        raise KeyError("late")

@workflow
def inner() -> None:
    defer(remove, "inner")
    work()

@workflow
def outer() -> str:
    defer(remove, "outer")
    try:
        inner()
    except ValueError:
        pass
    after()
    return "done"

if __name__ == "__main__":
    print(outer())
""",
    )
    shop.file("fail").touch()
    assert shop.run() == 1
    assert shop.ledger() == []
    shop.file("fail").unlink()
    assert shop.run() == 0
    assert shop.ledger() == ["remove inner", "remove outer"]
    (child,) = [run for run in shop.json("ps", "--all")["runs"] if run["child"]]
    assert child["status"] == "failed"


def test_a_run_that_is_parked_keeps_what_it_needs(scripts: Scripts) -> None:
    """It is gone on with when a person says so; then its deferred calls are made, once."""
    shop = Shop(scripts, SAGA.replace("@workflow\n", "@workflow(park_after=1)\n"))
    shop.file("fail").touch()
    assert shop.run() == 1
    assert shop.runs()[0]["status"] == "parked"
    assert [line for line in shop.ledger() if "remove" in line] == []
    shop.file("fail").unlink()
    assert shop("dlq", "redrive", "--all") == 0
    assert [line for line in shop.ledger() if "remove" in line] == ["remove late", "remove folder"]
