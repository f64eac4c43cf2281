"""`perdure run`, `resume` and `fork`: a run on the command line, from its arguments to its exit code."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec

from perdure.api.workflow import checked_if_locked
from perdure.cli.arguments import parse_arguments
from perdure.cli.exit_codes import DEAD_LETTERS, DONE, FAILED, INTERRUPTED
from perdure.cli.view.errors import show_error, show_traceback
from perdure.cli.view.live import Watch, watching
from perdure.cli.view.progress_lines import Narrator
from perdure.cli.view.terminal import Printer, count, safe, write_json
from perdure.core.durations import show
from perdure.core.records import RunRecord
from perdure.errors import OptionError, PerdureError, Skipped
from perdure.operations.find_run import find_run
from perdure.operations.location import Place, locate, opened, pin
from perdure.operations.resume import accept_changes, finished, fork, workflow_of
from perdure.operations.run import Execution, Finish
from perdure.operations.scripts import AnyWorkflow, find_workflow, split_target

RUN_HELP = """Usage: perdure run [--id ID] [--json] [--log-json] [--if-locked WHAT] [--state PATH] [--engine URL]
                   FILE[:WORKFLOW] [ARGUMENTS]

Run a workflow, or go on with it: an unfinished run with the same arguments is resumed, and no finished step runs again.

  FILE[:WORKFLOW]  The script, and which of its workflows if it has several.
  ARGUMENTS        The workflow's own. `perdure run FILE --help` shows them.
  --id ID          Exactly one run under this id, ever: resumed if it is unfinished; its result if it is done.
  --json           Print one JSON object instead of the result as Python shows it.
  --if-locked WHAT If another process has the run, or the lock of its workflow: skip (exit code 0 and one line that says
                   who has it), wait (until it is free) or fail (exit code 1). As the workflow says, else skip.
  --log-json       Standard error is one JSON object a line: what perdure, the script and its libraries log.
  --state PATH     The state file, if not .perdure/state.db beside the script.
  --engine URL     Run it on a cluster: temporal://HOST:7233/NAMESPACE. This process lends it a worker meanwhile.

Exit codes: 0 done (or skipped, since another process runs it), 1 failed, 2 wrong usage, 3 done with dead letters,
130 interrupted."""

VALUED = {"--id": "id", "--if-locked": "if_locked", "--state": "state", "--engine": "engine"}


class Wish(msgspec.Struct):
    """What `perdure run` was asked for."""

    target: str
    rest: list[str]
    id: str | None = None
    json: bool = False
    log_json: bool = False
    state: Path | None = None
    engine: str | None = None
    if_locked: str | None = None


def run(tokens: Sequence[str]) -> int:
    """`perdure run`: returns the exit code."""
    if not tokens or tokens[0] in ("--help", "-h"):
        sys.stdout.write(f"{RUN_HELP}\n")
        return DONE
    wish = _read(tokens)
    named = wish.state is not None or wish.engine is not None
    place = locate(wish.state, engine=wish.engine) if named else None
    if place is not None:
        pin(place)  # also for what the script looks up while it is loaded
    path, name = split_target(wish.target)
    with watching(wish.log_json) as view:
        workflow = _loaded(lambda: find_workflow(path, name))
        if workflow is None:
            return FAILED
        parsed = parse_arguments(workflow.spec, f"perdure run {wish.target}", wish.rest)
        if parsed is None:
            return DONE
        args, kwargs, own = parsed
        if place is None or "state" in own or "engine" in own:
            place = locate(own.get("state"), Path(workflow.spec.file), own.get("engine"))
        workflow = _told(workflow, own.get("if_locked") or wish.if_locked)
        execution = Execution(workflow, place, view.observer)
        id = own.get("id") or wish.id
        return _carry_out(execution, lambda: execution.run(args, kwargs, id), view, json=own.get("json") or wish.json)


def _told(workflow: AnyWorkflow, if_locked: str | None) -> AnyWorkflow:
    """The workflow, told on the command line what to do if it is locked.

    Raises:
        OptionError: it is none of the three.
    """
    return workflow if if_locked is None else workflow.with_options(if_locked=checked_if_locked(if_locked))


def resume(
    reference: str,
    script: Path | None,
    place: Place,
    *,
    accept: bool,
    json: bool,
    log_json: bool = False,
    if_locked: str | None = None,
) -> int:
    """`perdure resume`: returns the exit code."""
    with opened(place, reference) as store:
        found = find_run(store, reference)
    if found.status == "done":
        Printer(sys.stderr).line(f"run {found.id} is done; this is its result")
        return _print_finish(finished(place, found), json=json)
    return _go_on(found, script, place, accept=accept, json=json, log_json=log_json, if_locked=if_locked)


def fork_and_run(
    reference: str, step: str, script: Path | None, place: Place, *, start: bool, json: bool, log_json: bool = False
) -> int:
    """`perdure fork`: returns the exit code."""
    with opened(place, reference) as store:
        source = find_run(store, reference)
    made = fork(place, source, step, time.time())
    if not start:
        if json:
            _print_json({"run": made.id})
        else:
            Printer().line(made.id)
        return DONE
    said = f"run {made.id} is a copy of {source.id} up to {step}\n"
    return _go_on(made, script, place, accept=False, json=json, log_json=log_json, said=said)


def _go_on(
    run: RunRecord,
    script: Path | None,
    place: Place,
    *,
    accept: bool,
    json: bool,
    log_json: bool,
    if_locked: str | None = None,
    said: str = "",
) -> int:
    pin(place)  # also for what the script looks up while it is loaded
    with watching(log_json) as view:
        sys.stderr.write(safe(said))
        workflow = _loaded(lambda: workflow_of(run, script))
        if workflow is None:
            return FAILED
        execution = Execution(_told(workflow, if_locked), place, view.observer)
        if accept:
            accept_changes(place, run)
        return _carry_out(execution, lambda: execution.resume(run), view, json=json)


def _read(tokens: Sequence[str]) -> Wish:
    """Split the command line at the file's name: what comes before it is perdure's."""
    given: dict[str, Any] = {}
    rest = list(tokens)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in ("--json", "--log-json"):
            given[option[2:].replace("-", "_")] = True
        elif option in VALUED and (equals or rest):
            given[VALUED[option]] = value if equals else rest.pop(0)
        else:
            raise OptionError(
                f"perdure run has no option {option}" if option not in VALUED else f"{option} needs a value",
                "see `perdure run --help`; options of the workflow come after the file's name",
            )
    if not rest:
        raise OptionError("no script was named", "perdure run FILE")
    if "state" in given:
        given["state"] = Path(given["state"])
    return Wish(target=rest[0], rest=rest[1:], **given)


def _loaded(find: Callable[[], AnyWorkflow]) -> AnyWorkflow | None:
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


def _carry_out(execution: Execution, go: Callable[[], Finish], view: Watch, *, json: bool) -> int:
    """Run it under somebody's eyes, and tell how it ended."""
    try:
        # With --json, standard output is for one line, whatever the script prints.
        with redirect_stdout(sys.stderr) if json else nullcontext(), view.showing():
            finish = go()
    except Skipped as skipped:
        Printer(sys.stderr).line(f"skipped: {skipped.what}")
        return DONE
    except KeyboardInterrupt:
        _print_standing("interrupted", execution)
        return INTERRUPTED
    except SystemExit:
        _print_standing("stopped by sys.exit", execution)
        raise  # the exit code is the script's own
    except PerdureError as error:
        code = show_error(error)
        return _failed(execution, json=json) if execution.run_id else code
    except Exception as error:  # noqa: BLE001  the user's own
        show_traceback(error)
        return _failed(execution, json=json)
    _print_summary(finish, view.narrator, execution.place)
    return _print_finish(finish, json=json)


def _failed(execution: Execution, *, json: bool) -> int:
    if (status := _print_standing("failed", execution)) is not None:
        where = f"{shlex.quote(execution.run_id or '')}{execution.place.option}"
        onward = "" if status == "cancelled" else f"   go on: perdure resume {where}"
        Printer(sys.stderr).line(f"  see more: perdure show {where}{onward}")
        if json:
            _print_json({"run": execution.run_id, "workflow": execution.workflow.spec.name, "status": status})
    return FAILED


_ENDINGS = {
    "cancelled": "was cancelled; {} saved; a run of the same inputs starts anew",
    "parked": "has failed too often and was set aside; {} saved",
}


def _print_standing(how: str, execution: Execution) -> str | None:
    """One line about a run that has not come to a good end; returns its status, None if there is none."""
    printer = Printer(sys.stderr)
    saved = execution.saved()
    if saved is None:
        printer.line(f"{how}; nothing was run", "bold")
        return None
    ending = _ENDINGS.get(saved.status, f"{how}; {{}} saved; run again to resume")
    printer.line(f"run {saved.run} {ending.format(count(saved.steps, 'step'))}", "bold")
    return saved.status if saved.status in _ENDINGS else "failed"


def _print_summary(finish: Finish, told: Narrator, place: Place) -> None:
    printer = Printer(sys.stderr)
    if told.run_id is None:
        printer.line(f"run {finish.run} was done before; this is its result")
        return
    text = f"run {finish.run} done in {show(told.seconds)}: {count(told.executed, 'step')} executed"
    if told.recorded:
        text += f", {told.recorded} from before"
    if finish.dead_letters:
        letters = count(finish.dead_letters, "dead letter")
        text += f"; {letters}, see: perdure dlq ls --run {shlex.quote(finish.run)}{place.option}"
    printer.line(text, "yellow" if finish.dead_letters else "green")


def _print_finish(finish: Finish, *, json: bool) -> int:
    if json:
        fields = {"run": finish.run, "workflow": finish.workflow, "status": "done", "result": finish.result}
        _print_json(fields | {"dead_letters": finish.dead_letters})
    elif finish.shown is not None:
        sys.stdout.write(f"{finish.shown}\n")
    return DEAD_LETTERS if finish.dead_letters else DONE


def _print_json(fields: dict[str, Any]) -> None:
    write_json(fields)
