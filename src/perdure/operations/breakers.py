"""The circuit breakers, pauses and rate limits of a state file."""

from __future__ import annotations

import time
from collections.abc import Container
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Literal

import msgspec

from perdure.core.policies.breaker import BreakerState, Mode
from perdure.core.policies.rate import PauseState, RateState, left
from perdure.core.redaction.text import redact
from perdure.core.timestamps import moment
from perdure.engines.features import Feature
from perdure.engines.guards import Guards
from perdure.engines.runtime.clock import RealWorld
from perdure.errors import NotFound
from perdure.operations.location import Location
from perdure.store.services import Services


class BreakerView(msgspec.Struct, frozen=True):
    """What is known about one service.

    Attributes:
        name: the breaker's; for a step without one, the step's.
        state: None if it has no breaker, or one that has never seen a failure.
        until: when the cool-down of an open breaker ends.
        failures: in a row, of late.
        openings: how often it has opened.
        error: the last failure, with credentials taken out.
        paused_until: when the pause ends that the service has asked for.
        rate: the rate limit under this name.
    """

    name: str
    state: Mode | None = None
    until: datetime | None = None
    failures: int = 0
    openings: int = 0
    error: str = ""
    paused_until: datetime | None = None
    rate: str = ""


class OpeningView(msgspec.Struct, frozen=True):
    """From when to when a breaker let no call through; `ended` is None while it does not.

    `how` is "open" by failures, of which `error` was the last, or "isolated" by a person.
    """

    name: str
    began: datetime | None
    ended: datetime | None
    how: Literal["open", "isolated"]
    error: str


def openings_of(
    state: Path, since: float = 0.0, until: float = inf, names: Container[str] | None = None
) -> list[OpeningView]:
    """The openings of breakers in a time, the earliest first; at most the last fifty of each breaker.

    Args:
        state: the state file.
        since: seconds since the epoch; those that were over before are left out.
        until: the same; those that began later are left out.
        names: of the breakers that are meant; None: all.

    Raises:
        StateError: the file of the services cannot be used.
    """
    services = Services(state, time.time)
    try:
        found = services.openings(since, until)
    finally:
        services.close()
    return [
        OpeningView(
            one.name, moment(one.began), None if one.ended is None else moment(one.ended), one.how, redact(one.error)
        )
        for one in found
        if names is None or one.name in names
    ]


def list_breakers(location: Location) -> list[BreakerView]:
    """All of them, by name.

    Raises:
        UsageError: the location is a cluster.
        StateError: the file cannot be used.
    """
    guards = _guards(location)
    try:
        cells = guards.services.all()
    finally:
        guards.close()
    now = time.time()
    views: dict[str, BreakerView] = {}
    for _, name, cell in cells:
        views[name] = _with(views.get(name, BreakerView(name)), cell, now)
    return [view for view in views.values() if view != BreakerView(view.name)]


def change_breaker(location: Location, name: str, order: Literal["reset", "isolate"]) -> bool:
    """Close a breaker, or let no call through it; returns whether the file knew it.

    Raises:
        NotFound: there is nothing to reset under that name.
        UsageError: the location is a cluster.
        StateError: the file cannot be used.
    """
    guards = _guards(location)
    try:
        names = {known for _, known, _ in guards.services.all()}
        if order == "isolate":
            guards.isolate(name)
        elif name not in names:
            listed = ", ".join(sorted(names)) or "none"
            raise NotFound(
                f"no call of {name!r} has failed yet: there is nothing to reset in {location.path}",
                f"give one of: {listed}; or name another state file: --file SCRIPT or --state PATH",
            )
        else:
            guards.reset(name)
        return name in names
    finally:
        guards.close()


def _guards(location: Location) -> Guards:
    location.require(Feature.SERVICE_LISTING)
    return Guards(location.path, RealWorld())


def _with(view: BreakerView, cell: object, now: float) -> BreakerView:
    match cell:
        case BreakerState():
            return msgspec.structs.replace(
                view,
                state=cell.mode,
                until=moment(cell.until) if cell.mode == "open" else None,
                failures=cell.consecutive,
                openings=cell.openings,
                error=redact(cell.error),
            )
        case PauseState():
            seconds = left(cell, now)
            return msgspec.structs.replace(view, paused_until=moment(now + seconds)) if seconds > 0 else view
        case RateState():
            return msgspec.structs.replace(view, rate=cell.limit)
    return view
