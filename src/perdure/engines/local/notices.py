"""Lines on standard error about runs that nothing else shows: one that goes on, waits, undoes, or has dead letters.

`perdure run` and an observer that shows a person what happens say it themselves. PERDURE_QUIET=1 leaves out all but the
dead letters, which would be lost from sight.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from perdure.config.module_names import INTERACTIVE
from perdure.config.script_identity import point_out
from perdure.core.durations import show
from perdure.core.exceptions import capture
from perdure.core.execution.effects import Wait
from perdure.core.execution.run_effects import Body, Undoable, Unwind
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.engines.local.resources import Resources
from perdure.errors import PerdureError, StateError, Suspended
from perdure.store import parking

LONG = 5.0
"""Seconds. A wait that is longer is said."""
OFTEN = 60.0
"""Seconds between two lines about waits of one step."""
MOST = 1_000
"""Steps and runs that are remembered, so that a long-lived process does not keep all."""

NAMED = 5
"""Dead letters whose numbers are said."""


def resumes(resources: Resources, effect: Body) -> None:
    """A run goes on that an earlier process, or an earlier call, has begun."""
    run, history = effect.run, effect.history
    if not history.resumed or run.parent is not None or resources.is_shown:
        return
    if _first_time(resources, ("resumed", run.rid, run.started)):
        from perdure.core.redaction.printable import one_line

        saved = sum(resources.store.counts(run.rid).values())
        steps = "1 step" if saved == 1 else f"{saved:,} steps"
        children = resources.store.count_children(run.rid)
        runs = "its child run has" if children == 1 else f"its {children:,} child runs have"
        more = f", beside what {runs}" if children else ""
        point_out(f"run {one_line(run.id)} goes on, with {steps} saved before{more}{_without_file(run)}")


def _without_file(run: RunRecord) -> str:
    """That a script which was given to Python as a text is taken for an edited version of any other."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if run.script != INTERACTIVE or file not in (None, "<stdin>") or hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        return ""
    return "; what Python is given by -c or on standard input is taken for this script, edited: a file tells two apart"


def suspended(resources: Resources, left: Suspended, script: str) -> None:
    """A run has been left to its waits, or is not due yet: what it waits for, and how it goes on."""
    from perdure.core.commands import located
    from perdure.core.redaction.printable import one_line
    from perdure.core.waits import brought_about, describe
    from perdure.store import workers
    from perdure.store.awaited_runs import unserved
    from perdure.store.waits import standing_of

    store, file = resources.store, _shown(script)
    at = _at(resources)
    worker, idle, act = None, list[RunRecord](), ""
    try:
        from perdure.config import secrets

        run = store.run(left.run)
        worker = workers.server_of(store.path, run)
        waits = standing_of(store, run.rid)
        what = secrets.conceal(describe(waits, resources.world.now()))
        plain = [one for one in waits if (said := f"{one.event} {one.topic}") == secrets.conceal(said)]
        act = located(brought_about(plain, left.run), at)  # a command with *** in it would send another signal
        idle = unserved(store, [one.run for one in waits if one.run is not None])
    except StateError:
        what = "all that it does waits"
    left.what = f"run {one_line(left.run)} is suspended: {what}"
    quoted = shlex.quote(file)
    if idle:
        # Whose end it is said to wait for, if there is one of them.
        which = "which" if what.endswith(f" {one_line(idle[0].id)}") else f"and {one_line(idle[0].id)}"
        left.what += f", {which} stands in a queue, and no worker executes it"
        files = dict.fromkeys([*(_shown(one.path) for one in idle), *([file] if worker is None else [])])
        left.hint = f"start a worker, which executes that: perdure worker{at} {' '.join(map(shlex.quote, files))}"
    elif worker is not None:
        left.hint = f"{act or 'do nothing'}{';' if act else ':'} worker pid {worker} goes on with it then"
    else:
        again = "run the script again then" if not act else f"{act}; then run the script again"
        left.hint = (
            f"nobody wakes it by itself; {again}, or: "
            f"perdure resume --wait{at} {shlex.quote(left.run)}, perdure worker{at} {quoted}"
        )
    if not resources.is_shown:
        from perdure.config.stderr_line import say

        say(f"perdure: {one_line(left.what)}\n  {one_line(left.hint)}")


def _at(resources: Resources) -> str:
    """The option with which a command finds the state file."""
    path = resources.store.path
    # Where the variable is set for this command alone, those that are named here would look elsewhere.
    apart = os.environ.get("PERDURE_STATE") and str(path) != os.path.abspath(".perdure/state.db")
    return resources.option or (f" --state {shlex.quote(str(path))}" if apart else "")


def _shown(script: str) -> str:
    return os.path.relpath(script) if os.path.isfile(script) else "FILE"


def waits_for_idle(resources: Resources, run: RunRecord, runs: Sequence[str], say: Callable[[str], None]) -> None:
    """A run waits in its process for others, of which one stands in a queue that no worker serves. Said once."""
    last, now = resources.said.get(("idle", run.rid)), resources.world.clock()
    if last is not None and now - last < OFTEN:
        return
    if len(resources.said) >= MOST:
        resources.said.clear()
    resources.said[("idle", run.rid)] = now
    from perdure.store.awaited_runs import unserved

    with suppress(StateError):  # the next look tells
        idle = unserved(resources.store, runs)
        if idle:
            resources.said[("idle", run.rid)] = float("inf")
            file = shlex.quote(_shown(idle[0].path))
            queued = f"run {idle[0].id} stands in a queue, and no worker executes it"
            say(f"{queued}; start one: perdure worker{_at(resources)} {file}")


def left(run: RunRecord, error: BaseException) -> None:
    """The workflow's function was left by what shows no traceback: an exit, or the end of its task or generator."""
    from perdure.core.redaction.printable import one_line

    by = "was cancelled" if type(error).__name__ == "CancelledError" else f"was left by {type(error).__name__}"
    point_out(f"run {one_line(run.id)} {by} and is not done; run the script again to go on from here")


def goes_past(run: str, owner: str, by: str) -> None:
    """The workflow makes another step although an earlier one was left by what is no failure, and is not saved.

    Or, if `by` is empty, by a Ctrl-C that came as it was; without an `owner`, outside of steps.
    """
    from perdure.core.redaction.printable import one_line

    if not by:
        when = f"as {owner} was saved" if owner else "outside of steps"
        point_out(
            f"Ctrl-C came {when}, and the workflow goes on: run {one_line(run)} does not meet it again "
            "if it is resumed, and stops with drift if other calls follow then; handle Ctrl-C in a step, or let it pass"
        )
        return
    point_out(
        f"{owner} was left by {by}, which is not saved, and the workflow goes on: run {one_line(run)} executes it "
        "once more if it is resumed; let it return, or raise an Exception instead"
    )


def waits(resources: Resources, wait: Wait) -> None:
    """A call waits for more than a few seconds."""
    from perdure.core.redaction.printable import one_line

    if wait.seconds <= LONG or resources.is_shown:
        return
    spec, now = wait.call.spec, resources.world.clock()
    last = resources.said.get(("waits", spec.name))
    if last is not None and now - last < OFTEN:
        return
    resources.said[("waits", spec.name)] = now
    reason = wait.reason
    if wait.error is not None:
        from perdure.config import secrets

        line = secrets.conceal(capture.to_fault(wait.error).line)
        reason = f"attempt {wait.attempt} failed ({line})"
    point_out(one_line(f"{spec.owner} waits {show(round(wait.seconds, 1))}: {reason}"))


def undoes(resources: Resources, effect: Unwind) -> None:
    """A run that has failed, or was cancelled, takes back what it has done."""
    if effect.ok or resources.is_shown:
        return
    count = effect.history.to_undo()
    if count > 0:
        from perdure.core.redaction.printable import one_line

        steps = "1 completed step" if count == 1 else f"{count:,} completed steps"
        point_out(f"run {one_line(effect.run.id)} undoes {steps}")


def say_of_undoings(resources: Resources, lines: Sequence[str]) -> None:
    """A run is gone on with whose undoing had failed."""
    if not lines or resources.is_shown:
        return
    from perdure.core.redaction.printable import one_line

    for line in lines[:NAMED]:
        point_out(one_line(line))
    if len(lines) > NAMED:
        point_out(f"so it is with {len(lines) - NAMED:,} more; see: perdure dlq ls{resources.option}")


def ended_before(lines: Sequence[str]) -> None:
    """A run was ended whose process had died in that, and the next thing begins: a line each."""
    from perdure.core.redaction.printable import one_line

    for line in lines:
        point_out(one_line(line))


def left_parked(resources: Resources, run: RunRecord) -> list[str]:
    """The dead letters that a cancelled run has left, those of its clean-ups: a line, if there are any."""
    from perdure.core.commands import located, redrive
    from perdure.store import dead_letters as letters

    wanted = letters.Filter(status="parked", run=run.rid)
    found = [str(letter.lid) for letter in letters.find(resources.store, wanted) if letter.holder is None]
    if not found:
        return []
    numbers = ", ".join(found[:NAMED]) + (f" and {len(found) - NAMED:,} more" * (len(found) > NAMED))
    which = (
        f"dead letter {numbers} of a clean-up stays" if len(found) == 1 else f"dead letters {numbers} of clean-ups stay"
    )
    return [f"{which} parked; to try again: {located(redrive(run.id), resources.option)}"]


def keeps(resources: Resources, effect: Undoable) -> None:
    """A fork that has failed, or was cancelled, does not take back what child runs have done that its source called."""
    from perdure.engines.local.child_runs import kept_of_source

    run = effect.run
    count, ever = kept_of_source(resources, effect)
    if count and _first_time(resources, ("keeps", run.rid, run.epoch)):
        from perdure.core.redaction.printable import one_line

        steps = "1 step" if count == 1 else f"{count:,} steps"
        until = "" if ever else " until it is cancelled"
        point_out(f"run {one_line(run.id)} does not undo {steps} of child runs that its source had called{until}")


def leaves(resources: Resources, run: RunRecord, status: str) -> None:
    """What a run that has failed or was cancelled leaves: runs that it has begun, and calls that nobody knows of."""
    from perdure.store.kept_runs import kept_runs
    from perdure.store.unknown_calls import unknown_calls

    try:
        kept = kept_runs(resources.store, run.rid, status, resources.option)
        unknown = unknown_calls(resources.store, run, status, children=False)
    except PerdureError:
        return  # it has ended all the same, and the next command says it
    for line in (kept, unknown):
        if line is not None:
            from perdure.core.redaction.printable import one_line

            point_out(one_line(f"run {run.id}: {line}"))


def left_behind(run: RunRecord, calls: Sequence[tuple[int, str]]) -> None:
    """A run is done that had completed calls before, and did not make them this time; kept with it (`Store.end`)."""
    from perdure.core import run_notes
    from perdure.core.redaction.printable import one_line

    point_out(one_line(run_notes.left_behind(run.id, calls)))


def done_first(resources: Resources, run: RunRecord) -> None:
    """A run was asked to end in its last step, and is done: said, and kept with it."""
    from perdure.core.redaction.printable import one_line
    from perdure.core.run_notes import DONE_FIRST, Remark

    resources.store.done_first.discard(run.rid)
    text = f"run {run.id} was asked to end, and was done before its next safe point: nothing of it is undone"
    fault = capture.encode(capture.to_fault(Remark(text)))
    resources.store.note(run, codec.digest(DONE_FIRST), fault, resources.world.now())
    point_out(one_line(text))


def dead_letters(resources: Resources, run: RunRecord) -> None:
    """A run is done, and has dead letters, or misses what was re-driven: said also if PERDURE_QUIET is set."""
    if resources.is_shown or not resources.store.journal.read(parking.are_there):
        return
    from perdure.config.stderr_line import say
    from perdure.core.redaction.printable import one_line
    from perdure.store import listing
    from perdure.store.unseen_results import unseen

    if not listing.may_have_letters(resources.store, run.rid):
        return
    count = listing.dead_letters(resources.store, run.rid)
    if count:
        letters = "1 dead letter" if count == 1 else f"{count:,} dead letters"
        command = f"perdure dlq ls --run {shlex.quote(run.id)}{resources.option}"
        say(f"perdure: run {one_line(run.id)} is done with {letters}: {command}")
    if (missed := unseen(resources.store, run)) is not None:
        text = f"run {run.id} is done, and does not contain {missed.results}: {missed.command}{resources.option}"
        say(f"perdure: {one_line(text)}")


def _first_time(resources: Resources, what: tuple[object, ...]) -> bool:
    if what in resources.said:
        return False
    if len(resources.said) >= MOST:
        resources.said.clear()
    resources.said[what] = 0.0
    return True
