"""`perdure breaker`: circuit breakers, pauses and rate limits."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import ANYWHERE, Json, Where
from perdure.cli.view.terminal import Printer, as_json, date
from perdure.operations import deeds
from perdure.operations.breakers import BreakerView, change_breaker, list_breakers

STYLES = {"open": "red", "half-open": "yellow", "isolated": "yellow"}

Name = Annotated[str, Parameter(help="The name of the breaker, as `perdure breaker ls` has it.")]

app = App(name="breaker", help="Look at circuit breakers and rate limits, close them, or let no call through.")


@app.command
def ls(*, json: Json = False, where: Where = ANYWHERE) -> int:
    """List what is known about the services that steps call."""
    views = list_breakers(where.locate())
    if json:
        as_json({"services": views})
        return DONE
    printer = Printer()
    if not views:
        printer.line("no breaker has seen a failure, and no rate limit is in use", "dim")
        return DONE
    headings = ("NAME", "STATE", "FAILURES", "OPENED", "PAUSED UNTIL", "RATE", "LAST ERROR")
    printer.table(headings, [_row(view) for view in views], [STYLES.get(view.state or "", "") for view in views])
    return DONE


@app.command
def reset(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Close a breaker, and end the pause of its service: calls go through again at once."""
    location = where.locate()
    change_breaker(location, name, "reset")
    deeds.note(location, "breaker reset", name)
    return _print_state(name, "closed", json=json, note="")


@app.command
def isolate(name: Name, *, json: Json = False, where: Where = ANYWHERE) -> int:
    """Let no call through until it is reset: steps wait within their bound, or fail at once."""
    location = where.locate()
    known = change_breaker(location, name, "isolate")
    deeds.note(location, "breaker isolate", name)
    return _print_state(
        name, "isolated", json=json, note="" if known else f" (new: no failed call of it is in {location.path})"
    )


def _print_state(name: str, state: str, *, json: bool, note: str) -> int:
    if json:
        as_json({"name": name, "state": state})
    else:
        Printer().line(f"breaker {name} is {state}{note}")
    return DONE


def _row(view: BreakerView) -> tuple[str, ...]:
    state: str = view.state or "-"
    if view.until is not None:
        state = f"open until {date(view.until)}"
    return (
        view.name,
        state,
        str(view.failures),
        str(view.openings),
        date(view.paused_until),
        view.rate or "-",
        view.error or "-",
    )
