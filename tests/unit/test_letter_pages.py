"""Listings of dead letters that skip or repeat some, or show a thousand letters of one reason and hide another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from listed_runs import Listed, Questions

from perdure.cli import main
from perdure.errors import OptionError
from perdure.operations.dead_letters import Selection, list_letters
from perdure.operations.letter_pages import letter_reasons, letters_page

EMPTY, LIMIT = b"emptyacc", b"ratelimt"


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    run = made.run("run")
    for number in range(30):
        made.steps(run, "charge", status="dead", attempts=2, reason=LIMIT if number % 10 == 4 else EMPTY)
    made.steps(made.run("other"), "mail", "mail", status="dead")  # as an earlier version wrote it
    yield made
    made.store.close()


def test_pages_of_letters_give_each_one_once(listed: Listed) -> None:
    """Newest first, with and without a filter; the same as the listing, and without asking more for each."""
    for wanted in (Selection(), Selection(run="run"), Selection(step="mail"), Selection(reason=LIMIT.hex())):
        cursor, found = None, []
        while True:
            page = letters_page(listed.store, wanted, cursor=cursor, limit=4)
            found += page.letters
            cursor = page.next
            if cursor is None:
                break
        assert found == list_letters(listed.store, wanted).letters
    assert [view.letter for view in list_letters(listed.store, Selection(), 3).letters] == [32, 31, 30]
    assert [len(letters_page(listed.store, Selection(), seconds=0.0).letters)] == [1]
    with pytest.raises(OptionError, match="the reason is"):
        letters_page(listed.store, Selection(reason="empty"))


def test_a_few_letters_do_not_read_all(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest three of many are asked for as often as the newest three of few."""
    questions = Questions(listed.store, monkeypatch)
    list_letters(listed.store, Selection(), 3)
    few, questions.asked = questions.asked, 0
    listed.steps(listed.run("more"), *["mail"] * 300, status="dead")
    questions.asked = 0
    list_letters(listed.store, Selection(), 3)
    assert questions.asked == few


def test_letters_are_few_reasons(listed: Listed, capsys: pytest.CaptureFixture[str]) -> None:
    """Each reason with how many letters it has and the newest, most first; those of earlier versions by their step
    and what the error says. The command says the same, and its reason chooses the letters."""
    found = letter_reasons(listed.store)
    assert [(one.reason, one.letters, one.newest.letter) for one in found] == [
        (EMPTY.hex(), 27, 30),
        (LIMIT.hex(), 3, 25),
        (None, 2, 32),
    ]
    state = ("--state", str(listed.store.path))
    assert main(["dlq", "reasons", "--json", *state]) == 0
    assert [one["letters"] for one in json.loads(capsys.readouterr().out)["reasons"]] == [27, 3, 2]
    assert main(["dlq", "reasons", *state]) == 0
    assert "ValueError: no money" in capsys.readouterr().out
    assert main(["dlq", "ls", "--reason", LIMIT.hex(), "--json", *state]) == 0
    assert [one["letter"] for one in json.loads(capsys.readouterr().out)["letters"]] == [25, 15, 5]
