"""A fork counts what the steps have spent that it has taken over; a bound that nothing can come of is refused."""

from __future__ import annotations

import pytest
from tests.integration.fork_scripts import HEAD, Shop

from conftest import Scripts

SPENDING = (
    HEAD
    + """
@step(retry=None)
def ask(n: int) -> int:
    note(f"ask {n}")
    perdure.spend(usd=1)
    return n

@workflow
def inner(n: int) -> int:
    return ask(n)

@step(retry=None)
def report(total: int) -> int:
    perdure.spend(usd=1)
    if not os.path.exists("fixed"):
        raise ValueError("report")
    return total

@workflow
def agent() -> float:
    with perdure.budget(usd=4) as b:
        total = ask(1) + inner(2)
        total += ask(3)
        try:
            report(total)
        finally:
            note(f"spent {b.spent.usd:g}")
    return b.spent.usd

if __name__ == "__main__":
    agent()
"""
)


@pytest.fixture
def agent(scripts: Scripts) -> Shop:
    return Shop(scripts, SPENDING)


def test_what_is_made_again_is_counted_once(agent: Shop) -> None:
    """A fork makes two of four calls again, which have spent 2 dollars in the source: it has spent 4, and not 6."""
    agent.run()
    (run,) = agent.runs()
    assert agent.ledger() == ["ask 1", "ask 2", "ask 3", "spent 4"]
    agent.file("fixed").touch()
    assert agent("fork", run["id"], "--from", "#3") == 0, agent.said
    assert agent.ledger() == ["ask 3", "spent 4"]


def test_what_a_child_run_has_spent_is_taken_over(agent: Shop) -> None:
    """A child run before the point counts for the fork, and one that is called again does not."""
    agent.run()
    (run,) = agent.runs()
    agent.ledger()
    assert agent("fork", run["id"], "--from", "#4", "--no-run") == 0, agent.said
    (fork,) = [one for one in agent.runs() if one["forked_from"]]
    agent.file("fixed").touch()
    assert agent("resume", fork["id"]) == 0, agent.said
    assert agent.ledger() == ["spent 4"]
    assert agent("fork", fork["id"], "--from", "#2") == 0, agent.said
    assert agent.ledger() == ["ask 2", "ask 3", "spent 4"]


def test_a_fork_is_given_a_higher_bound(agent: Shop) -> None:
    """`fork --budget` is that of `resume`; one that cannot be read makes no fork."""
    agent.script.write_text(agent.script.read_text().replace("usd=4", "usd=2"))
    agent.file("fixed").touch()
    agent.run()
    (run,) = agent.runs()
    assert "$2 of $2 are spent" in agent.said
    assert agent("fork", run["id"], "--from", "#3", "--budget", "euros=5") == 2
    assert len(agent.runs()) == 1
    agent.ledger()
    assert agent("fork", run["id"], "--from", "#3", "--budget", "usd=9") == 0, agent.said
    assert agent.ledger() == ["ask 3", "spent 4"]


def test_a_bound_without_effect_is_refused(agent: Shop) -> None:
    """A run that is done spends nothing more."""
    agent.file("fixed").touch()
    agent.run()
    (run,) = agent.runs()
    assert agent("resume", run["id"], "--budget", "usd=9") == 2
    assert f"run {run['id']} is done and spends nothing more: --budget has no effect" in agent.said
    assert "perdure fork" in agent.said


def test_a_bound_that_no_budget_is_below_is_pointed_out(agent: Shop) -> None:
    """It allows nothing more than the script does; one that does allow more is taken without a word."""
    agent.run()
    (run,) = agent.runs()
    line = f"--budget has no effect: no budget that run {run['id']} has come to allows less"
    for given, idle in (("usd=4", True), ("calls=50", True), ("usd=9", False)):
        assert agent("resume", run["id"], "--budget", given) == 1, agent.said
        assert (line in agent.said) is idle, agent.said
    assert agent("fork", run["id"], "--from", "#3", "--budget", "usd=2") == 1
    assert "--budget has no effect" in agent.said
