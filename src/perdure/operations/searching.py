"""A text looked for everywhere: in runs, in their steps, and in dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from perdure.config import secrets
from perdure.errors import NotFound
from perdure.operations.dead_letters import LetterView, Selection, find_letter, newest, texts_of, view_of
from perdure.operations.find_run import find_run
from perdure.operations.paging import SECONDS, Budget
from perdure.operations.ps import EVERY, RunFilter, each_run, runs_page
from perdure.operations.run_log import LogView, log_view
from perdure.operations.run_views import RunView
from perdure.operations.run_views import view_of as run_view_of
from perdure.operations.step_rows import StepFilter, StepRow, StepRows, step_rows
from perdure.store import attempt_logs, dead_letters
from perdure.store.damaged_rows import if_sound
from perdure.store.listing import has
from perdure.store.runs import Store

MOST = 20
"""Runs, and steps, that are given."""


class FoundStep(msgspec.Struct, frozen=True):
    """A step in which the text is, and the run that it is of."""

    run: str
    step: StepRow


class FoundLine(msgspec.Struct, frozen=True):
    """A line in which the text is, that an attempt has logged or printed, and the run that it is of."""

    run: str
    line: LogView


class Found(msgspec.Struct, frozen=True):
    """What was found, the newest first. If not `complete`, there is more, or looking further took too long."""

    runs: list[RunView]
    steps: list[FoundStep]
    letters: list[LetterView]
    complete: bool
    lines: list[FoundLine] = []


def search(store: Store, text: str, *, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> Found:
    """Look for a text in runs, in their steps and in dead letters: in ids and names, in labels, inputs and errors; and
    in what attempts have logged and printed.

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
    page = runs_page(store, wanted, limit=MOST, seconds=seconds / 4, clock=clock)
    letters, all_letters = _letters(store, text, Budget(MOST, seconds / 4, clock))
    lines, all_lines = _lines(store, text, Budget(MOST, seconds / 4, clock))
    runs = page.runs
    if not runs:
        with suppress(NotFound):
            runs = [run_view_of(store, find_run(store, text))]
    steps: list[FoundStep] = []
    complete = page.next is None and all_letters and all_lines
    for run in each_run(store, msgspec.structs.replace(EVERY, children=True)):
        if budget.is_spent or len(steps) >= MOST:
            complete = False
            break
        if run.status == "damaged":
            continue
        rows = partial(_steps, store, run.id, text, MOST - len(steps), budget.left, clock)
        some = if_sound(rows, lambda: None)  # it may have what is looked for
        steps += [FoundStep(run.id, one) for one in some.steps] if some is not None else []
        complete = complete and some is not None and some.next is None
    return Found(runs, steps, letters, complete, lines)


def _steps(store: Store, run: str, text: str, most: int, seconds: float, clock: Callable[[], float]) -> StepRows:
    return step_rows(store, find_run(store, run), StepFilter(text=text), limit=most, seconds=seconds, clock=clock)


def _lines(store: Store, text: str, budget: Budget) -> tuple[list[FoundLine], bool]:
    """The lines of attempts in which the text is, the newest first, and whether these are all."""
    found: list[FoundLine] = []
    hide = secrets.redactor()  # what was not known to be a secret then
    for line in attempt_logs.newest_with(store.path, text):
        if budget.is_spent or len(found) >= MOST:
            return found, False
        shown = hide(line.text)
        if text in shown and has(store, line.run):
            found.append(FoundLine(line.run, log_view(line, shown)))
    return found, True


def _letters(store: Store, text: str, budget: Budget) -> tuple[list[LetterView], bool]:
    """The letters in which the text is, the newest first, and whether these are all."""
    found: dict[int, LetterView] = {}
    if text.isascii() and text.isdecimal() and len(text) < 16:
        with suppress(NotFound):
            view = view_of(store, find_letter(store, text))
            found[view.letter] = view
    for view in newest(store, Selection()):
        if budget.is_spent or len(found) >= MOST:
            return list(found.values()), False
        shown = [view.reference, view.workflow, view.step or "", view.inputs, view.error]
        if view.inputs.endswith("..."):
            texts = texts_of(store, dead_letters.get(store, view.letter))
            shown += [texts.inputs, texts.edited or ""]
        if any(text in one for one in shown):
            found[view.letter] = view
    return list(found.values()), True
