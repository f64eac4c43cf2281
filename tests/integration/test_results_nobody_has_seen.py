"""A run does not end well without the results of re-driven dead letters: it fails, or says what is missing."""

from __future__ import annotations

import pytest
from tests.integration.fork_scripts import HEAD, Shop

from conftest import Scripts

BOOKS = (
    HEAD
    + """
@step(retry=None)
def book(n: int) -> int:
    if n == 2 and not os.path.exists("fixed"):
        raise ValueError(f"cannot book {n}")
    return n

@step(retry=None)
def total(rows: list[int]) -> int:
    note(f"total {rows}")
    return sum(rows)

@workflow
def part() -> list[int]:
    return list(book.map([1, 2, 3]).results)

@workflow(OPTIONS)
def close() -> int:
    rows = ROWS
    amount = total(rows)
    if os.path.exists("broken"):
        raise RuntimeError("broken")
    return amount

if __name__ == "__main__":
    print(close())
"""
)
ROWS = {"own": "list(book.map([1, 2, 3]).results)", "of a child run": "part()"}


def shop_of(scripts: Scripts, rows: str, options: str) -> Shop:
    return Shop(scripts, BOOKS.replace("ROWS", ROWS[rows]).replace("OPTIONS", options))


def redrive(shop: Shop) -> str:
    """Drive the letter again; the run's id."""
    (run,) = shop.runs()
    shop.file("fixed").touch()
    assert shop("dlq", "redrive", "--all") == 0, shop.said
    return str(run["id"])


@pytest.mark.parametrize("rows", ROWS)
def test_a_run_that_fails_on_dead_letters_fails_without_their_results(scripts: Scripts, rows: str) -> None:
    """The total is of before the redrive: resumed, the run fails and says what makes it again, which it does."""
    shop = shop_of(scripts, rows, "fail_on_dead=True")
    assert shop.run() == 1
    run = redrive(shop)
    assert shop.ledger() == ["total [1, 3]"]
    for again in (shop.run, lambda: shop("resume", run)):
        assert again() == 1
        assert "it does not contain the result of 1 re-driven dead letter" in shop.said
    assert f"perdure fork {run} --from total" in shop.said
    assert shop.runs()[0]["status"] == "failed"
    assert shop("fork", run, "--from", "total") == 0, shop.said
    assert shop.ledger() == ["total [1, 2, 3]"]
    assert "does not contain" not in shop.said


def test_a_run_that_is_resumed_says_what_it_does_not_contain(scripts: Scripts) -> None:
    """Without fail_on_dead it is done with what it saw; that is said, and the exit code of `resume` is 3."""
    shop = shop_of(scripts, "own", "")
    shop.file("broken").touch()
    assert shop.run() == 1
    run = redrive(shop)
    shop.file("broken").unlink()
    assert shop("resume", run) == 3
    assert f"does not contain the result of 1 re-driven dead letter: perdure fork {run} --from total" in shop.said
    assert shop("resume", run) == 3
    assert shop("fork", run, "--from", "total") == 0, shop.said
    assert shop.ledger() == ["total [1, 3]", "total [1, 2, 3]"]
    assert shop("resume", run) == 0


def test_a_script_says_it_as_well(scripts: Scripts) -> None:
    """`python FILE`: one line on standard error."""
    shop = shop_of(scripts, "own", "")
    shop.file("broken").touch()
    assert shop.run() == 1
    run = redrive(shop)
    shop.file("broken").unlink()
    assert shop.run() == 0
    assert shop.said.count(f"perdure: run {run} is done, and does not contain the result of 1 re-driven dead") == 1
