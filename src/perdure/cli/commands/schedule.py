"""`perdure schedule`: what runs when, what became of each tick; pause, trigger, backfill, skip."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, COUNT, Json, Where
from perdure.cli.view.schedule_page import show_list, show_one, shown
from perdure.cli.view.terminal import Printer, as_json, count
from perdure.operations import deeds, schedules

Name = Annotated[str, Parameter(help="The name of the schedule, as `perdure schedule ls` has it.")]

app = App(name="schedule", help="See what runs when and what became of each tick; pause, trigger, backfill, skip.")


@app.command
def ls(*, json: Json = False, where: Where = ANYWHERE) -> int:
    """List the schedules: when each runs next, how its last run ended, and how many ticks nobody served."""
    views = schedules.list_schedules(where.locate())
    if json:
        as_json({"schedules": views})
    else:
        show_list(views)
    return DONE


@app.command
def show(
    name: Name,
    *,
    limit: Annotated[int, Parameter("--limit", validator=COUNT, help="How many ticks at most.")] = 20,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Show one schedule, and what became of its latest ticks."""
    view = schedules.show_schedule(where.locate(), name, limit)
    if json:
        as_json(view)
    else:
        show_one(view)
    return DONE


@app.command(name="next")
def next_(
    name: Name,
    number: Annotated[int, Parameter(validator=Number(gte=1, lte=1000), help="How many.")] = 5,
    *,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Print when its next runs begin."""
    found = schedules.next_ticks(where.locate(), name, number)
    if json:
        as_json({"ticks": found})
        return DONE
    printer = Printer()
    for moment in found:
        printer.line(shown(moment))
    if not found:
        printer.line("never", "dim")
    return DONE


@app.command
def pause(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Let no more runs begin until it is resumed; those that have begun go on."""
    location = where.locate()
    schedules.pause(location, name)
    deeds.note(location, "schedule pause", name)
    return _say({"name": name, "status": "paused"}, f"schedule {name} is paused", json=json)


@app.command
def resume(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Let it count again, from now on: what was due meanwhile is not caught up with."""
    location = where.locate()
    following = schedules.resume(location, name)
    deeds.note(location, "schedule resume", name)
    line = f"schedule {name} is active; next: {shown(following)}"
    return _say({"name": name, "status": "active", "next": following}, line, json=json)


@app.command
def trigger(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Make a run of it now, beside its ticks; a worker executes it."""
    location = where.locate()
    id = schedules.trigger(location, name)
    deeds.note(location, "schedule trigger", name, id)
    return _say({"name": name, "run": id}, f"run {id} is queued", json=json)


@app.command
def backfill(
    name: Name,
    first: Annotated[str, Parameter(help="From when: 2026-11-01, or 2026-11-01T03:00, in the zone of the schedule.")],
    last: Annotated[str, Parameter(help="Until when, with it.")],
    *,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Make the runs of past ticks that have none, one after the other."""
    location = where.locate()
    made, there = schedules.backfill(location, name, first, last)
    deeds.note(location, "schedule backfill", name, f"{first} to {last}: {count(len(made), 'run')}")
    line = f"{count(len(made), 'run')} queued" + (f"; {count(there, 'tick')} had one already" if there else "")
    return _say({"name": name, "runs": made, "there": there}, line, json=json)


@app.command
def skip(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Skip its next tick."""
    location = where.locate()
    tick = schedules.skip(location, name)
    deeds.note(location, "schedule skip", name, shown(tick))
    return _say({"name": name, "skipped": tick}, f"the tick of {shown(tick)} will be skipped", json=json)


@app.command
def rm(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Remove it; a script that still has it declares it again."""
    location = where.locate()
    cancelled = schedules.remove(location, name)
    deeds.note(location, "schedule rm", name)
    line = f"schedule {name} is removed" + (f"; {count(cancelled, 'run')} cancelled that waited" if cancelled else "")
    return _say({"name": name, "cancelled": cancelled}, line, json=json)


def _say(value: dict[str, object], line: str, *, json: bool) -> int:
    if json:
        as_json(value)
    else:
        Printer().line(line)
    return DONE
