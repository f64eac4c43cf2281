"""Races are history: an async workflow that was killed takes the same branch again, whatever its steps take then."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.integration import race_programs
from tests.integration.race_draws import program
from tests.integration.race_world import Deaths, same_so_far

from perdure.errors import Drift


@pytest.fixture
def deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deaths:
    """A state file on which processes die one after the other."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "races.db"))
    monkeypatch.setenv("PERDURE_CRASH_LIMIT", "1000")
    return Deaths(tmp_path)


def check(deaths: Deaths, seed: int, *, depth: int, kills: int, failures: bool) -> None:
    """A random program, killed after each of its first commits or at a random turn of the loop, up to three times."""
    node = program(seed, depth, failures=failures)
    chance = random.Random(seed)
    for kill in range(1, kills + 1):
        deaths.forget()
        at = {"turn": chance.randint(1, 200)} if kill % 3 == 0 else {"commit": kill}
        before, _ = deaths.live(node, seed, **at)
        for again in range(1, 4):
            durable, status = deaths.durable(), deaths.status()
            if status == "done":
                break
            commit = chance.choice((0, 3, 6)) if again < 3 else 0
            after, _ = deaths.live(node, seed * 100 + kill * 10 + again, commit=commit)
            where = f"seed {seed}, killed at {at}, life {again + 1}"
            assert not after.again, f"executed again: {after.again} ({where})"
            if status != "failed":  # else the step that has ended it is tried again, and may go another way
                assert same_so_far(before, after, durable) is None, where
            before = after
        else:
            assert deaths.ended()


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_race_takes_the_same_branch(deaths: Deaths, seed: int) -> None:
    """Random races of gather, wait_for, timeout, wait, as_completed, shield, queues, task groups, children and maps."""
    check(deaths, seed, depth=2, kills=5, failures=False)


@pytest.mark.parametrize("seed", range(500, 504))
def test_a_killed_race_with_failures_takes_the_same_branch(deaths: Deaths, seed: int) -> None:
    """The same with steps that fail, and would not fail again: what other branches have seen of it is history."""
    check(deaths, seed, depth=2, kills=5, failures=True)


@pytest.mark.parametrize(
    ("seed", "depth", "kills"),
    [
        pytest.param(2021, 3, 6, id="a step whose cancellation takes some turns of the loop"),
        pytest.param(2112, 2, 6, id="a timer that is due while only a map is under way"),
        pytest.param(4023, 3, 4, id="a call claims a record of before its run was begun again, after the replay"),
        pytest.param(300075, 3, 1, id="a map is broken off while an item of it executes"),
        pytest.param(400949, 3, 2, id="a branch is cancelled once more while it waits for its place"),
        pytest.param(400516, 2, 5, id="a timer is made after another one fired that nothing else could have preceded"),
    ],
)
def test_what_has_gone_another_way_once(deaths: Deaths, seed: int, depth: int, kills: int) -> None:
    """What long campaigns have found: each took another way in a later life."""
    check(deaths, seed, depth=depth, kills=kills, failures=True)


def test_what_only_another_branch_has_seen_of_a_failure_is_history(
    deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch that failed makes no further call before the process dies; the step would not fail again."""
    fails = [True]
    monkeypatch.setattr(race_programs.Life, "fails", lambda self, name: fails[0])
    monkeypatch.setattr(race_programs.Life, "seconds", lambda self, name: 0.0)
    node = ["alarm", "a", ["sleep", "z", 1]]
    first, _ = deaths.live(node, 1, commit=4)
    assert first.executed == {"a?": 1, "a: ['failed']": 1}
    fails[0] = False
    second, result = deaths.live(node, 2)
    assert result == "a: ['failed']"
    assert not second.executed


@pytest.mark.long
def test_many_killed_races_take_the_same_branches(deaths: Deaths) -> None:
    """Hundreds of programs; how many different schedules they took is printed."""
    for seed in range(1000, 1300):
        check(deaths, seed, depth=2 + seed % 2, kills=9, failures=seed % 3 == 0)
        print(f"{seed}: {len(deaths.schedules)} schedules so far")


def test_a_call_that_was_given_up_is_not_made_again(deaths: Deaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a record: the resumed workflow gives it up again, without executing it, and no time passes for that."""
    took = {"slow": 50.0, "backup": 1.0, "more": 1.0}
    monkeypatch.setattr(race_programs.Life, "seconds", lambda self, name: took.get(name, 0.0))
    node = ["sequence", "s", [["wait_for", "w", ["work", "slow"], 8], ["work", "backup"], ["work", "more"]]]
    first, _ = deaths.live(node, 1, commit=4)
    assert first.executed == {"slow": 1, "w timed out": 1, "backup": 1}
    with deaths.records() as records:
        assert ("work", "abandoned") in [(record.name, record.status) for record in records]
    took["slow"] = 0.0  # it would win now
    second, result = deaths.live(node, 2)
    assert second.executed == {"more": 1}
    assert result == "w timed out<backup><more>"


def test_a_branch_that_sleeps_for_longer_than_any_patience_is_replayed_at_once(deaths: Deaths) -> None:
    """Its timer fires when nothing else can happen: no clock is waited for, and nothing is taken for drift."""
    node = ["gather", "g", [["sequence", "a", [["work", "a1"], ["sleep", "z", 36_000], ["work", "a2"]]], ["work", "b"]]]
    first, _ = deaths.live(node, 1, commit=4)
    assert first.executed["a2"] == 1
    second, _ = deaths.live(node, 2)
    assert second.executed.get("a2") is None
    assert deaths.loop.now < 60.0


def test_a_call_that_is_awaited_after_all_is_made(deaths: Deaths) -> None:
    """An edited script that no longer gives a call up gets its result: it is executed when all else is at rest."""
    given_up = ["sequence", "s", [["wait_for", "w", ["work", "slow"], 1]]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race_programs.Life, "seconds", lambda self, name: 5.0 if name == "slow" else 0.0)
        deaths.live(given_up, 1, commit=2)
    with deaths.records() as records:
        assert [record.status for record in records if record.name == "work"] == ["abandoned"]
    assert not deaths.ended()
    with pytest.MonkeyPatch.context() as patch:

        async def patient(name: str, node: object, ticks: int) -> str:
            return await race_programs.walk(node)

        patch.setitem(race_programs.KINDS, "wait_for", patient)
        lived, result = deaths.live(given_up, 2)
    assert lived.executed["slow"] == 1
    assert result is not None


def test_an_edited_race_is_drift_still(deaths: Deaths) -> None:
    """Completed calls of the same name that no branch makes again, when all rest, stop the run before it executes."""
    deaths.live(["gather", "g", [["work", "a"], ["work", "b"]]], 1, commit=3)
    with pytest.MonkeyPatch.context() as patch:

        async def edited(name: str, nodes: list[object]) -> str:
            return str(await asyncio.gather(race_programs.do("other"), race_programs.do("others")))

        patch.setitem(race_programs.KINDS, "gather", edited)
        with pytest.raises(Drift):
            deaths.live(["gather", "g", [["work", "a"], ["work", "b"]]], 2)
    assert not race_programs.life.executed
