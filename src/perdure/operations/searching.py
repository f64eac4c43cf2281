"""A text looked for everywhere: in runs, in their steps, and in dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from perdure.errors import NotFound
from perdure.operations.dead_letters import LetterView, Selection, find_letter, newest, texts_of, view_of
from perdure.operations.find_run import find_run
from perdure.operations.paging import SECONDS, Budget
from perdure.operations.ps import EVERY, RunFilter, RunView, each_run, runs_page
from perdure.operations.ps import view_of as run_view_of
from perdure.operations.step_rows import StepFilter, StepRow, step_rows
from perdure.store.runs import Store

MOST = 20
"""Runs, and steps, that are given."""


class FoundStep(msgspec.Struct, frozen=True):
    """A step in which the text is, and the run that it is of."""

    run: str
    step: StepRow


class Found(msgspec.Struct, frozen=True):
    """What was found, the newest first. If not `complete`, there is more, or looking further took too long."""

    runs: list[RunView]
    steps: list[FoundStep]
    letters: list[LetterView]
    complete: bool


def search(store: Store, text: str, *, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> Found:
    """Look for a text in runs, in their steps and in dead letters: in ids and names, in labels, inputs and errors.

    A number is also that of a letter.

    Args:
        store: the state file.
        text: as it is shown: its case counts.
        seconds: what it may take, about.
        clock: of those seconds.

    Raises:
        StateError: the file cannot be read.
    """
    budget = Budget(MOST, seconds, clock)
    wanted = RunFilter(text=text, anywhere=True, children=True)
    page = runs_page(store, wanted, limit=MOST, seconds=seconds / 3, clock=clock)
    letters, all_letters = _letters(store, text, Budget(MOST, seconds / 3, clock))
    runs = page.runs
    if not runs:
        with suppress(NotFound):
            runs = [run_view_of(store, find_run(store, text))]
    steps: list[FoundStep] = []
    complete = page.next is None and all_letters
    for run in each_run(store, msgspec.structs.replace(EVERY, children=True)):
        if budget.is_spent or len(steps) >= MOST:
            complete = False
            break
        most = MOST - len(steps)
        only = StepFilter(text=text)
        found = step_rows(store, find_run(store, run.id), only, limit=most, seconds=budget.left, clock=clock)
        steps += [FoundStep(run.id, one) for one in found.steps]
        complete = complete and found.next is None
    return Found(runs, steps, letters, complete)


def _letters(store: Store, text: str, budget: Budget) -> tuple[list[LetterView], bool]:
    """The letters in which the text is, the newest first, and whether these are all."""
    found: dict[int, LetterView] = {}
    if text.isascii() and text.isdecimal() and len(text) < 16:
        with suppress(NotFound):
            view = view_of(store, find_letter(store, text))
            found[view.letter] = view
    for letter in newest(store, Selection()):
        if budget.is_spent or len(found) >= MOST:
            return list(found.values()), False
        view = view_of(store, letter)
        shown = [view.reference, view.workflow, view.step or "", view.inputs, view.error]
        if view.inputs.endswith("..."):
            texts = texts_of(store, letter)
            shown += [texts.inputs, texts.edited or ""]
        if any(text in one for one in shown):
            found[view.letter] = view
    return list(found.values()), True
