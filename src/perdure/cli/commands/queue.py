"""`perdure queue`: queues of runs, their limits, and what is in them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Where
from perdure.cli.view.terminal import Printer, as_json, count
from perdure.operations import deeds
from perdure.operations.queues import QueueView, drain, list_queues, set_paused

Name = Annotated[str, Parameter(help="The name of the queue, as `perdure queue ls` has it.")]

app = App(name="queue", help="Look at queues of runs; pause one, or cancel what waits in it.")


@app.command
def ls(*, json: Json = False, where: Where = ANYWHERE) -> int:
    """List the queues: what waits, what executes, and the limits."""
    views = list_queues(where.locate())
    if json:
        as_json({"queues": views})
        return DONE
    printer = Printer()
    if not views:
        printer.line("there is no queue: workflow.enqueue(...) puts a run into one", "dim")
        return DONE
    headings = ("QUEUE", "WAITING", "DELAYED", "EXECUTING", "PER KEY", "RATE", "STATE")
    printer.table(headings, [_row(view) for view in views], [_style(view) for view in views])
    return DONE


@app.command
def pause(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Let no run of a queue begin until it is resumed; those that execute go on."""
    return _set(where, name, paused=True, json=json)


@app.command
def resume(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Let the runs of a paused queue begin again."""
    return _set(where, name, paused=False, json=json)


@app.command(name="drain")
def drain_(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Cancel the runs that wait in a queue; those that have begun go on."""
    location = where.locate()
    cancelled = drain(location, name)
    deeds.note(location, "queue drain", name, f"{count(cancelled, 'run')} cancelled")
    if json:
        as_json({"name": name, "cancelled": cancelled})
    else:
        Printer().line(f"{count(cancelled, 'run')} of queue {name} cancelled")
    return DONE


def _set(where: Where, name: str, *, paused: bool, json: bool) -> int:
    location = where.locate()
    changed = set_paused(location, name, paused)
    if changed:
        deeds.note(location, "queue pause" if paused else "queue resume", name)
    return _say(name, "paused" if paused else "open", changed, json)


def _say(name: str, state: str, changed: bool, json: bool) -> int:
    if json:
        as_json({"name": name, "state": state, "changed": changed})
    else:
        Printer().line(f"queue {name} is {state}{'' if changed else ', as it was'}")
    return DONE


def _row(view: QueueView) -> tuple[str, ...]:
    executing = str(view.executing) if view.concurrency is None else f"{view.executing} of {view.concurrency}"
    return (
        view.name,
        str(view.waiting),
        str(view.delayed),
        executing,
        "-" if view.per_key is None else str(view.per_key),
        view.rate or "-",
        "damaged" if view.damaged else "paused" if view.paused else "open",
    )


def _style(view: QueueView) -> str:
    return "red" if view.damaged else "yellow" if view.paused else ""
