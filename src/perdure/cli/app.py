"""The commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter
from cyclopts.validators import Number

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.view import show_page
from perdure.operations.location import Place, locate, opened

WHERE = Group("State file", sort_key=1)

State = Annotated[Path | None, Parameter("--state", group=WHERE, help="The state file.")]
Script = Annotated[Path | None, Parameter("--file", group=WHERE, help="A script, whose .perdure/state.db is meant.")]
Engine = Annotated[str | None, Parameter("--engine", group=WHERE, help='A cluster: "temporal://HOST:7233/NAMESPACE".')]
Json = Annotated[bool, Parameter("--json", negative="", help="One line of JSON, for programs.")]
LogJson = Annotated[bool, Parameter("--log-json", negative="", help="Standard error is one JSON object a line.")]
Limit = Annotated[int, Parameter("--limit", validator=Number(gte=0))]
Reference = Annotated[str, Parameter(help='A run\'s id, the beginning of it, or "last".')]
Standings = Literal["running", "stopping", "interrupted", "failed", "parked", "done", "dead", "cancelled"]

SHOWN_STEPS = 200

app = App(
    name="perdure",
    help="Makes a plain Python script durable: every step it finishes is saved.",
    version_flags=["--version"],
    result_action="return_value",
)


@app.command(help_flags=[])
def run(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]) -> int:
    """Run a workflow, or go on with it: perdure run FILE[:WORKFLOW] [ARGUMENTS]."""
    from perdure.cli.commands import run as running

    return running.run(tokens)


@app.command
def ps(
    *,
    status: Annotated[
        Standings | None, Parameter(help="Only runs that stand so; dead: done with dead letters.")
    ] = None,
    workflow: Annotated[str | None, Parameter(help="Only runs of this workflow.")] = None,
    all: Annotated[bool, Parameter(("--all", "-a"), negative="", help="Child runs too.")] = False,
    limit: Annotated[Limit, Parameter(help="How many at most; 0 for all.")] = 20,
    json: Json = False,
    state: State = None,
    file: Script = None,
    engine: Engine = None,
) -> int:
    """List the runs, newest first."""
    from perdure.operations.ps import list_runs

    with opened(locate(state, file, engine), most=limit or None) as store:
        views = list_runs(store, status=status, workflow=workflow, children=all, limit=limit or None)
    if json:
        show_page.as_json(views)
    else:
        show_page.runs(views)
    return DONE


@app.command
def show(
    run: Reference,
    *,
    step: Annotated[str | None, Parameter(help="Only the steps of this name.")] = None,
    verbose: Annotated[bool, Parameter(("--verbose", "-v"), negative="", help="Tracebacks too.")] = False,
    limit: Annotated[
        Limit | None, Parameter(help="The last so many steps; 0 for all. 200, or all with --json.")
    ] = None,
    json: Json = False,
    state: State = None,
    file: Script = None,
    engine: Engine = None,
) -> int:
    """Show one run: inputs, result or error, every step with its attempts, child runs."""
    from perdure.operations.find_run import find_run
    from perdure.operations.show import details_of

    most = (None if json else SHOWN_STEPS) if limit is None else limit or None
    with opened(locate(state, file, engine), run) as store:
        details = details_of(store, find_run(store, run), step=step, limit=most, data=json)
    if json:
        show_page.as_json(details)
    else:
        show_page.run(details, verbose=verbose)
    return DONE


@app.command
def why(run: Reference, *, json: Json = False, state: State = None, file: Script = None, engine: Engine = None) -> int:
    """Tell why a run is not moving, and the commands that help."""
    from perdure.cli.commands.why import main

    return main(locate(state, file, engine), run, json=json)


@app.command
def resume(
    run: Reference,
    file: Annotated[Path | None, Parameter(help="The script, if it is not where it was.")] = None,
    /,
    *,
    accept_changes: Annotated[
        bool, Parameter(negative="", help="The script was edited on purpose: what it calls anew is new work.")
    ] = False,
    if_locked: Annotated[
        Literal["skip", "wait", "fail"] | None,
        Parameter(help="If another process has it. As the workflow says, else skip."),
    ] = None,
    json: Json = False,
    log_json: LogJson = False,
    state: State = None,
    engine: Engine = None,
) -> int:
    """Go on with a run, with the inputs that it was started with."""
    from perdure.cli.commands import run as running

    place = _place(state, file, engine)
    return running.resume(run, file, place, accept=accept_changes, json=json, log_json=log_json, if_locked=if_locked)


@app.command
def fork(
    run: Reference,
    file: Annotated[Path | None, Parameter(help="The script, if it is not where it was.")] = None,
    /,
    *,
    step: Annotated[str, Parameter("--from", help="A step's name (its first record counts), or # and a number.")],
    run_it: Annotated[bool, Parameter("--run", negative="--no-run", help="Run the copy.")] = True,
    json: Json = False,
    log_json: LogJson = False,
    state: State = None,
) -> int:
    """Start a new run with the results of another up to a step, which is made again."""
    from perdure.cli.commands import run as running

    place = _place(state, file)
    return running.fork_and_run(run, step, file, place, start=run_it, json=json, log_json=log_json)


@app.command
def cancel(
    run: Reference,
    file: Annotated[Path | None, Parameter(help="The script, if it is not where it was.")] = None,
    /,
    *,
    state: State = None,
    engine: Engine = None,
) -> int:
    """End an unfinished run for good, at its next safe point; its clean-ups are made."""
    from perdure.cli.commands import cancel as cancelling

    return cancelling.main(_place(state, file, engine), run, file)


@app.command
def check(
    files: Annotated[list[Path], Parameter(help="Scripts that were edited.")],
    /,
    *,
    json: Json = False,
    engine: Engine = None,
) -> int:
    """Tell which runs that are under way on a cluster would not fit edited scripts, and where."""
    from perdure.cli.commands import worker as clusters

    return clusters.check(engine, files, json=json)


@app.command
def worker(
    files: Annotated[list[Path], Parameter(help="Scripts that define workflows.")],
    /,
    *,
    engine: Engine = None,
) -> int:
    """Run the steps and workflows of scripts for a cluster, until it is told to end (SIGTERM, Ctrl-C)."""
    from perdure.cli.commands import worker as clusters

    return clusters.worker(engine, files)


app.command("perdure.cli.commands.breaker:app", name="breaker", help="Look at circuit breakers; close or isolate one.")
app.command(
    "perdure.cli.commands.dlq:app", name="dlq", help="Dead letters: look at them, edit, re-drive, drop, export."
)
app.command("perdure.cli.commands.alert:app", name="alert", help="Prove that alerts arrive; see what waits; send it.")


@app.command
def doctor(*, json: Json = False, state: State = None, file: Script = None) -> int:
    """Look over this installation and the state file."""
    from perdure.operations.doctor import examine

    found = examine(locate(state, file, "local"))
    if json:
        show_page.as_json(found)
    else:
        show_page.health(found)
    return DONE if found.ok else FAILED


@app.command
def new(file: Annotated[Path, Parameter(help="A new file, such as my_workflow.py.")], /) -> int:
    """Write a short, runnable workflow to a new file: a checkpoint, recovery, an alert, and places to fill in."""
    from perdure.cli.commands.new import new as write

    return write(file)


@app.command
def demo(
    *,
    orders: Annotated[int, Parameter(help="How many orders to charge.")] = 200,
    seed: Annotated[int, Parameter(help="The same seed, the same mishaps.")] = 7,
    keep: Annotated[Path | None, Parameter(help="A new folder for script, state and ledger, to look at.")] = None,
) -> int:
    """Charge 200 orders through an API that misbehaves, kill it half way, run it again, and prove what happened."""
    from perdure.demo.run import main

    return main(orders, seed, keep)


def _place(state: Path | None, script: Path | None, engine: str | None = None) -> Place:
    """A script that has moved may lie where its state file still is not; so the working directory counts first."""
    here = locate(state, engine=engine)
    return (
        here
        if state is not None or here.engine != "local" or here.path.exists() or script is None
        else locate(None, script)
    )
