"""The addresses that look at dead letters: their lists, by reason, one of them, and its input."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.dead_letters import LetterDetails
from perdure.operations import letter_input, letter_pages
from perdure.operations.accepted_inputs import Accepted, accepted_inputs
from perdure.operations.dead_letters import LetterView, Selection, find_letter
from perdure.operations.dead_letters import Standing as LetterStanding
from perdure.operations.dead_letters import details_of as letter_details_of
from perdure.operations.location import opened
from perdure.store import code, dead_letters
from perdure.store.runs import Store
from perdure.web.endpoints import Desk, Limit, Names, Nothing, number


class LettersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters: how they stand, of which reason, run, workflow or step, with which text in their error."""

    status: LetterStanding | None = None
    reason: str | None = None
    run: str | None = None
    workflow: str | None = None
    step: str | None = None
    error: str | None = None
    after: str | None = None
    limit: Limit = 100


class LetterLine(msgspec.Struct, frozen=True):
    """A letter of a listing, with its inputs as plain data, and the script of its run. `parameters` are what
    these inputs are called, in order, as far as that is known."""

    letter: LetterView
    data: Any
    script: str
    parameters: list[str] = []


class LettersPage(msgspec.Struct, frozen=True):
    """Dead letters, newest first; `totals` counts all by how they stand. `next`: the cursor of those behind them."""

    letters: list[LetterLine]
    totals: dict[str, int]
    next: str | None


def letters(desk: Desk, names: Names, given: LettersQuery) -> LettersPage:
    """The dead letters, the newest first."""
    wanted = Selection(given.status, given.run, given.workflow, given.step, given.error, reason=given.reason)
    with opened(desk.location) as store:
        page = letter_pages.letters_page(store, wanted, cursor=given.after, limit=given.limit)
        known: dict[int, dict[tuple[str, str], list[str]]] = {}
        lines = [_line(store, one, known) for one in page.letters]
        return LettersPage(lines, dead_letters.totals(store), page.next)


def _line(store: Store, view: LetterView, known: dict[int, dict[tuple[str, str], list[str]]]) -> LetterLine:
    """A letter as a line. `known`: parameters by kind and name, of runs that were looked at before."""
    if view.status == "damaged":
        return LetterLine(view, None, "")
    letter = dead_letters.get(store, view.letter)
    run = store.run_by_number(letter.run)
    if letter.run not in known:
        rows = store.journal.read(lambda at: code.of_run(at, letter.run, store.path))
        known[letter.run] = {call: list(row.parameters) for call, row in rows.items()}
    record = store.record(letter.run, letter.seq) if letter.seq else None
    given = letter.input if letter.input is not None else run.input if record is None else record.input
    parameters = [] if record is None else known[letter.run].get((record.kind, record.name), [])
    return LetterLine(view, secrets.to_builtins(given), run.path, parameters)


def input_of(desk: Desk, names: Names, given: Nothing) -> letter_input.LetterInput:
    """The input of a dead letter, place by place, to be edited."""
    return letter_input.letter_input(desk.location, str(number(names["letter"], "dead letter")))


class Reasons(msgspec.Struct, frozen=True):
    """Why letters are parked: what most of them failed with comes first. `letters`: how many they are together."""

    reasons: list[letter_pages.LetterReason]
    letters: int


def reasons(desk: Desk, names: Names, given: Nothing) -> Reasons:
    """The parked letters by reason, those of most letters first."""
    with opened(desk.location) as store:
        found = letter_pages.letter_reasons(store)
    return Reasons(found, sum(one.letters for one in found))


def letter(desk: Desk, names: Names, given: Nothing) -> LetterDetails:
    """All about a dead letter."""
    with opened(desk.location) as store:
        return letter_details_of(store, find_letter(store, str(number(names["letter"], "dead letter"))))


def accepted(desk: Desk, names: Names, given: Nothing) -> Accepted:
    """What the calls of a letter's step that succeeded were given: a value that none of them had is worth a look."""
    with opened(desk.location) as store:
        letter = find_letter(store, str(number(names["letter"], "dead letter")))
        run = store.run_by_number(letter.run)
        return accepted_inputs(store, run, store.record(letter.run, letter.seq).name) if letter.seq else Accepted(0, [])
