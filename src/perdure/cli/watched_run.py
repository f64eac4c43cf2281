"""Runs a workflow while a person or a program watches: what `run`, `resume` and `fork` have in common."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

from perdure.api.options import checked_if_locked
from perdure.cli.exit_codes import DEAD_LETTERS, DONE, FAILED, INTERRUPTED, SUSPENDED
from perdure.cli.view.errors import show_error, show_traceback
from perdure.cli.view.live import Watch, watching
from perdure.cli.view.progress_lines import ProgressLines
from perdure.cli.view.terminal import Printer, as_json, count, safe
from perdure.config.page_links import PURPOSE, page_link
from perdure.core.durations import show
from perdure.core.execution.run_refusals import ANEW, ITS_ID
from perdure.core.execution.spec import spec_of
from perdure.core.records import RunRecord
from perdure.engines.features import Feature
from perdure.errors import EngineError, PerdureError, RunError, Skipped, Suspended
from perdure.operations.deeds import VIA
from perdure.operations.location import Location, pin
from perdure.operations.resume import accept_changes
from perdure.operations.run import Execution, Finish
from perdure.operations.scripts import AnyWorkflow, workflow_of
from perdure.operations.started_commands import SKIPPED


def with_if_locked(workflow: AnyWorkflow, if_locked: str | None) -> AnyWorkflow:
    """The workflow with what the command line says to do if it is locked.

    Raises:
        OptionError: it is none of the three.
    """
    return workflow if if_locked is None else workflow.with_options(if_locked=checked_if_locked(if_locked))


def go_on(
    run: RunRecord,
    script: Path | None,
    location: Location,
    *,
    accept: bool,
    json: bool,
    log_json: bool,
    if_locked: str | None = None,
    said: str = "",
    quiet: bool = False,
    wait: bool = False,
) -> int:
    """Go on with a run while it is watched; returns the exit code.

    Args:
        run: which.
        script: where its script is now, if not where it was.
        location: where the run is kept.
        accept: whether its records are not held against the edited script.
        json: whether the result is printed as JSON.
        log_json: whether standard error is one JSON object a line.
        if_locked: what to do if another process has the run.
        said: is printed before anything else.
        quiet: whether nothing is shown of a run that goes well, but its result.
        wait: whether this process stays while the run only waits.
    """
    pin(location)  # also for what the script looks up while it is loaded
    skipped = SKIPPED if os.environ.pop(VIA, None) else DONE  # the script's own commands are asked for by nobody else
    with watching(log_json, quiet) as view:
        sys.stderr.write(safe(said))
        workflow = loaded(lambda: workflow_of(run, location, script))
        if workflow is None:
            return FAILED
        execution = Execution(with_if_locked(workflow, if_locked), location, view.observer, stay=wait)
        if accept:
            accept_changes(location, run)
        return carry_out(execution, lambda: execution.resume(run), view, json=json, skipped_code=skipped)


def loaded(find: Callable[[], AnyWorkflow]) -> AnyWorkflow | None:
    """The workflow; None if its script cannot be loaded, which has been shown then.

    Raises:
        PerdureError: it was not found.
    """
    try:
        return find()
    except PerdureError:
        raise
    except Exception as error:  # noqa: BLE001  the script's own
        show_traceback(error)
        sys.stderr.write("the script could not be loaded; nothing was run\n")
        return None


def carry_out(
    execution: Execution, go: Callable[[], Finish], view: Watch, *, json: bool, skipped_code: int = DONE
) -> int:
    """Run it while it is watched, and print how it ended; returns the exit code."""
    try:
        # With --json, standard output is for one line, whatever the script prints.
        with redirect_stdout(sys.stderr) if json else nullcontext(), view.showing():
            finish = go()
    except Skipped as skipped:
        Printer(sys.stderr).line(f"skipped: {skipped.what}")
        return skipped_code
    except Suspended as left:
        printer = Printer(sys.stderr)
        printer.line(left.what, "bold")
        printer.line(f"  {left.hint}")
        if json:
            fields = {"run": left.run, "workflow": spec_of(execution.workflow).name, "status": "suspended"}
            as_json(fields | {"wake": left.wake})
        return SUSPENDED
    except KeyboardInterrupt:
        _print_standing("interrupted", execution)
        return INTERRUPTED
    except SystemExit:
        _print_standing("stopped by sys.exit", execution)
        raise  # the exit code is the script's own
    except EngineError as error:
        if execution.has_ended():
            show_error(error)
            return _failed(execution, json=json)
        return show_error(error, json=json)  # the run goes on where it is
    except PerdureError as error:
        code = show_error(error)
        return _failed(execution, json=json, first=isinstance(error, RunError)) if execution.run_id else code
    except Exception as error:  # noqa: BLE001  the user's own
        show_traceback(error)
        return _failed(execution, json=json)
    if not view.quiet or finish.dead_letters:
        _print_summary(finish, view.lines, execution.location)
    return print_finish(finish, execution.location, json=json)


def _failed(execution: Execution, *, json: bool, first: bool = False) -> int:
    """`first`: what its error says has to be done before it is gone on with."""
    if (status := _print_standing("failed", execution, "do that first, then " * first)) is not None:
        where = f"{shlex.quote(execution.run_id or '')}{execution.location.option}"
        onward = "" if status == "cancelled" else f"   {'then' if first else 'go on'}: perdure resume {where}"
        printer = Printer(sys.stderr)
        printer.line(f"  see more: perdure show {where}{onward}")
        if link := page_link(execution.run_id or "", spec_of(execution.workflow).file):
            printer.line(f"  {PURPOSE}: {link}")
        if json:
            as_json({"run": execution.run_id, "workflow": spec_of(execution.workflow).name, "status": status})
    return FAILED


_ENDINGS = {
    "cancelled": "was cancelled; {} saved; {}",
    "parked": "has failed too often and was set aside; {} saved",
}


def _print_standing(how: str, execution: Execution, first: str = "") -> str | None:
    """One line about a run that has not come to a good end; returns its status, None if there is none."""
    printer = Printer(sys.stderr)
    saved = execution.saved()
    if saved is None:
        printer.line(f"{how}; nothing was run", "bold")
        return None
    ending = _ENDINGS.get(saved.status, f"{how}; {{}} saved; {first}run again to resume")
    said = ending.format(count(saved.steps, "step"), ITS_ID if saved.named else ANEW)
    printer.line(f"run {saved.run} {said}", "bold")
    return saved.status if saved.status in _ENDINGS else "failed"


def _print_summary(finish: Finish, seen: ProgressLines, location: Location) -> None:
    printer = Printer(sys.stderr)
    if seen.run_id is None:
        printer.line(f"run {finish.run} was done before; this is its result")
        return
    executed = seen.executed
    if not location.supports(Feature.PROCESSES):  # others may have executed it, and this process other runs
        executed = max(finish.steps - seen.recorded, 0)
    text = f"run {finish.run} done in {show(seen.seconds)}: {count(executed, 'step')} executed"
    if seen.recorded:
        text += f", {seen.recorded} from before"
    if finish.dead_letters:
        letters = count(finish.dead_letters, "dead letter")
        text += f"; {letters}, see: perdure dlq ls --run {shlex.quote(finish.run)}{location.option}"
    printer.line(text, "yellow" if finish.dead_letters else "green")


def print_finish(finish: Finish, location: Location, *, json: bool) -> int:
    """Print the result of a run that is done, and what it does not contain; returns the exit code."""
    if (missed := finish.unseen) is not None:
        text = f"the result does not contain {missed.results}: {missed.command}{location.option}"
        Printer(sys.stderr).line(text, "yellow")
    if json:
        fields = {"run": finish.run, "workflow": finish.workflow, "status": "done", "result": finish.result}
        as_json(fields | {"dead_letters": finish.dead_letters})
    elif finish.shown is not None:
        sys.stdout.write(f"{finish.shown}\n")
    return DEAD_LETTERS if finish.dead_letters or finish.unseen else DONE
