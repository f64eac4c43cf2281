"""What works, and could be better; shown with --hints."""

from __future__ import annotations

import ast

from perdure.check import libraries
from perdure.check.names import Member
from perdure.check.project import Function
from perdure.check.reach import Place
from perdure.check.rules.clients import constructor
from perdure.check.rules.shapes import bound, inside, keyword, spread
from perdure.check.scan import targets

Loop = ast.For | ast.AsyncFor | ast.While


def _loops(place: Place) -> list[Loop]:
    return place.facts.of_any(ast.For, ast.AsyncFor, ast.While)


def _durable_inside(place: Place, loop: Loop) -> list[tuple[ast.Call, Function]]:
    found = []
    for node in inside(loop.body):
        if isinstance(node, ast.Call):
            step = place.durable(node, place.value(node.func))
            if step is not None:
                found.append((node, step))
    return found


def item_by_item(place: Place) -> None:
    """A loop over items with one call of a step for each, whose result the next one does not need."""
    for loop in place.facts.of_any(ast.For, ast.AsyncFor):
        calls = _durable_inside(place, loop)
        if len(calls) != 1 or any(isinstance(one, ast.Break | ast.Return) for one in inside(loop.body)):
            continue
        call, step = calls[0]
        if step.kind != "step":
            continue  # a workflow has no map
        own = {place.id for place, _ in targets(loop.target) if isinstance(place, ast.Name)}
        if _names(loop.body) & _names([*call.args, *(k.value for k in call.keywords)], ast.Load) - own:
            continue  # what one round makes is used by the next
        if isinstance(place.value(call.func), Function) and own & _names(call.args, ast.Load):
            place.found("item-by-item", loop, f"{place.who} calls step '{step.name}' for one item after the other")


def _names(nodes: list[ast.stmt] | list[ast.expr], kind: type[ast.expr_context] = ast.Store) -> set[str]:
    found = {
        one.id for node in nodes for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, kind)
    }
    if kind is ast.Store:  # a list that grows counts as made by the round
        for node in nodes:
            for one in ast.walk(node):
                if (
                    isinstance(one, ast.Call)
                    and isinstance(one.func, ast.Attribute)
                    and isinstance(one.func.value, ast.Name)
                ) and one.func.attr in ("append", "extend", "add", "update"):
                    found.add(one.func.value.id)
    return found


def unbounded_loop(place: Place) -> None:
    """`while True` around steps, whose end only an answer decides."""
    for loop in place.facts.of(ast.While):
        calls = _durable_inside(place, loop)
        if calls and isinstance(loop.test, ast.Constant) and loop.test.value:
            called = calls[0][1]
            place.found(
                "unbounded-loop", loop, f"{place.who} calls {called.kind} '{called.name}' in a loop without a bound"
            )


def sleep_in_workflow(place: Place) -> None:
    """Workflow code that sleeps."""
    for call, value in place.calls:
        if value == "time.sleep":
            place.found("sleep-in-workflow", call, f"{place.who} sleeps, and sleeps again when it is resumed")


def slow_default(place: Place) -> None:
    """A client of a model with its default timeout, in a step without one."""
    if bound(place.owner, "timeout"):
        return
    for call, value in place.calls:
        if not isinstance(value, str) or libraries.outside(value) != "a model" or keyword(call, "timeout") is not None:
            continue
        client = next((one for one in libraries.MODEL_CLIENTS if value.startswith(one)), "")
        made = constructor(place, call.func)
        if client and not spread(call) and (made is None or keyword(made, "timeout") is None):
            place.found(
                "slow-default", call, f"{client[:-2]} waits 10 minutes for an answer, and {place.who} has no timeout"
            )


def growing_input(place: Place) -> None:
    """A list that grows in a loop and is given to a step each time."""
    for loop in _loops(place):
        grown = {
            node.func.value.id
            for node in inside(loop.body)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("append", "extend", "insert")
            and isinstance(node.func.value, ast.Name)
        }
        for call, step in _durable_inside(place, loop):
            for given in (*call.args, *(one.value for one in call.keywords)):
                if isinstance(given, ast.Name) and given.id in grown:
                    text = f"'{given.id}' grows in a loop, and {step.kind} '{step.name}' is given all of it each time"
                    place.found("growing-input", call, text)


def no_breaker(place: Place, helpers: dict[Function, list[Place]]) -> None:
    """A map with concurrency over a step that calls a service without a breaker or a rate."""
    for call, value in place.calls:
        if not isinstance(value, Member) or value.name != "map" or keyword(call, "concurrency") is None:
            continue
        step = value.function
        if bound(step, "breaker") or bound(step, "rate"):
            continue
        for inner in helpers.get(step, ()):
            if any(isinstance(name, str) and libraries.outside(name) in ("HTTP", "a model") for _, name in inner.calls):
                place.found(
                    "no-breaker",
                    call,
                    f"'{step.name}.map' calls a service many times at once, without a breaker or a rate",
                )
                break


def no_alert(place: Place) -> None:
    """A workflow that names nobody who gets an alert."""
    owner = place.owner
    if (
        place.function.node is owner.node
        and owner.node is not None
        and "alert" not in owner.options
        and not owner.opaque
    ):
        place.found("no-alert", owner.node, f"workflow '{owner.name}' names nobody who gets an alert")


def no_time_zone(place: Place) -> None:
    """A schedule at an hour of the day, of no named time zone."""
    owner = place.owner
    spec = owner.options.get("schedule")
    if place.function.node is not owner.node or owner.node is None or "tz" in owner.options or owner.opaque:
        return
    fields = spec.value.split() if isinstance(spec, ast.Constant) and isinstance(spec.value, str) else []
    if len(fields) in (5, 6) and any(one != "*" for one in fields[len(fields) - 4 :]):
        place.found("no-time-zone", owner.node, f"workflow '{owner.name}' is scheduled at a local time, without tz=")
