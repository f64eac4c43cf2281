"""A text looked for everywhere: in runs, in their steps, and in dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from perdure.errors import NotFound
from perdure.operations.dead_letters import LetterView, find_letter, view_of
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
    """Look for a text in ids and inputs of runs, in names, labels and inputs of their steps; a number for a letter too.

    Args:
        store: the state file.
        text: as it is stored: its case counts.
        seconds: what it may take, about.
        clock: of those seconds.

    Raises:
        StateError: the file cannot be read.
    """
    budget = Budget(MOST, seconds, clock)
    letters = []
    if text.isascii() and text.isdecimal() and len(text) < 16:
        with suppress(NotFound):
            letters.append(view_of(store, find_letter(store, text)))
    page = runs_page(store, RunFilter(text=text, children=True), limit=MOST, seconds=seconds / 2, clock=clock)
    runs = page.runs
    if not runs:
        with suppress(NotFound):
            runs = [run_view_of(store, find_run(store, text))]
    steps: list[FoundStep] = []
    complete = page.next is None
    for run in each_run(store, msgspec.structs.replace(EVERY, children=True)):
        if budget.is_spent or len(steps) >= MOST:
            complete = False
            break
        wanted, most = StepFilter(text=text), MOST - len(steps)
        found = step_rows(store, find_run(store, run.id), wanted, limit=most, seconds=budget.left, clock=clock)
        steps += [FoundStep(run.id, one) for one in found.steps]
        complete = complete and found.next is None
    return Found(runs, steps, letters, complete)
