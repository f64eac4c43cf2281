"""`perdure run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.view.live import watching
from perdure.cli.watched_run import carry_out, loaded, with_if_locked
from perdure.cli.workflow_arguments import parse_arguments
from perdure.core.execution.spec import spec_of
from perdure.errors import OptionError
from perdure.operations.location import locate, pin
from perdure.operations.run import Execution
from perdure.operations.scripts import find_workflow, split_target

RUN_HELP = """Usage: perdure run [--id ID] [--json] [--log-json] [--if-locked WHAT] [--wait] [--state PATH]
                   [--engine URL] [--quiet] FILE[:WORKFLOW] [ARGUMENTS]

Run a workflow, or go on with it: an unfinished run with the same arguments is resumed, and no finished step runs again.

  FILE[:WORKFLOW]  The script, and which of its workflows if it has several.
  ARGUMENTS        The workflow's own. `perdure run FILE --help` shows them.
  --id ID          Exactly one run under this id, ever: resumed if it is unfinished; its result if it is done.
  --json           Print one JSON object instead of the result as Python shows it.
  --if-locked WHAT If another process has the run, or the lock of its workflow: skip (exit code 0 and one line that says
                   who has it), wait (until it is free) or fail (exit code 1). As the workflow says, else skip.
  --wait           Stay while the run sleeps or waits for a signal, however long; else a run that waits for longer than
                   a minute is left, with exit code 75.
  --log-json       Standard error is one JSON object a line: what perdure, the script and its libraries log.
  --quiet, -q      Nothing on standard error of a run that goes well; errors and dead letters are still said.
  --state PATH     The state file, if not .perdure/state.db beside the script.
  --engine URL     Run it on a cluster: temporal://HOST:7233/NAMESPACE. This process is a worker of it meanwhile.

Exit codes: 0 done (or skipped, since another process runs it), 1 failed, 2 wrong usage, 3 done with dead letters,
75 suspended: all that the run does sleeps or waits, 130 interrupted."""

VALUED = {"--id": "id", "--if-locked": "if_locked", "--state": "state", "--engine": "engine"}


class Request(msgspec.Struct):
    """What `perdure run` was asked for."""

    target: str
    rest: list[str]
    id: str | None = None
    json: bool = False
    log_json: bool = False
    state: Path | None = None
    engine: str | None = None
    if_locked: str | None = None
    wait: bool = False
    quiet: bool = False


def run(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]) -> int:
    """Carry out `perdure run`; returns the exit code."""
    if tokens and tokens[0] in ("--help", "-h"):
        sys.stdout.write(f"{RUN_HELP}\n")
        return DONE
    request = _read(tokens)
    named = request.state is not None or request.engine is not None
    location = locate(request.state, engine=request.engine) if named else None
    if location is not None:
        pin(location)  # also for what the script looks up while it is loaded
    path, name = split_target(request.target)
    with watching(request.log_json, request.quiet) as view:
        workflow = loaded(lambda: find_workflow(path, name))
        if workflow is None:
            return FAILED
        parsed = parse_arguments(spec_of(workflow), f"perdure run {shlex.quote(request.target)}", request.rest)
        if parsed is None:
            return DONE
        args, kwargs, own = parsed
        if location is None or "state" in own or "engine" in own:
            location = locate(own.get("state"), Path(spec_of(workflow).file), own.get("engine"))
        workflow = with_if_locked(workflow, own.get("if_locked") or request.if_locked)
        execution = Execution(workflow, location, view.observer, stay=own.get("wait") or request.wait)
        id = own.get("id") or request.id
        return carry_out(execution, lambda: execution.run(args, kwargs, id), view, json=own.get("json") or request.json)


def _read(tokens: Sequence[str]) -> Request:
    """Split the command line at the file's name: what comes before it is perdure's."""
    given: dict[str, Any] = {}
    rest = list(tokens)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in ("--json", "--log-json", "--wait", "--quiet", "-q"):
            given["quiet" if option == "-q" else option[2:].replace("-", "_")] = True
        elif option in VALUED and (equals or rest):
            given[VALUED[option]] = value if equals else rest.pop(0)
        else:
            raise OptionError(
                f"perdure run has no option {option}" if option not in VALUED else f"{option} needs a value",
                "see `perdure run --help`; options of the workflow come after the file's name",
            )
    if not rest:
        raise OptionError("no script is named", "perdure run FILE; see `perdure run --help`")
    if "state" in given:
        given["state"] = Path(given["state"])
    return Request(target=rest[0], rest=rest[1:], **given)
