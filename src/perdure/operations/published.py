"""`perdure get`: what a run has published, from the state file alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core import commands
from perdure.core.timestamps import moment
from perdure.engines.features import Feature
from perdure.errors import NotFound
from perdure.operations.find_run import find_run
from perdure.operations.location import Location, opened
from perdure.store import published
from perdure.store.bell import Bell
from perdure.store.runs import Store

OVER = ("done", "failed", "parked", "cancelled")
"""A run that stands so publishes nothing more by itself."""


class PublishedView(msgspec.Struct, frozen=True):
    """A value that a run has published, as plain data without credentials."""

    run: str
    name: str
    value: Any
    at: datetime | None


def get(location: Location, reference: str, name: str, *, wait: bool = False, seconds: float | None = None) -> Any:
    """What a run has published last under a name.

    Args:
        location: the state file.
        reference: the run.
        name: of the value.
        wait: until there is one.
        seconds: how long at most; None: no bound.

    Raises:
        UsageError: the location is a cluster.
        NotFound: there is no such run, or it has not published that, or not in time, or has ended without.
        StateError: the state file cannot be read.
    """
    from perdure.config.steady_clock import steady

    location.require(Feature.PUBLISHED)
    with opened(location, reference) as store:
        id = find_run(store, reference).id
        if not wait:
            return _looked(store, id, name) or _missing(store, id, name, "has not published {name!r}, yet")
        bell = Bell(location.path)
        try:
            with bell.listen() as ear:
                began = steady()
                while (found := _looked(store, id, name)) is None:
                    if store.run(id).status in OVER and _looked(store, id, name) is None:
                        return _missing(store, id, name, "has ended without {name!r}")
                    left = float("inf") if seconds is None else seconds - (steady() - began)
                    if left <= 0:
                        return _missing(store, id, name, "has not published {name!r} in time")
                    ear.wait(left)
                return found
        finally:
            bell.close()


def _looked(store: Store, id: str, name: str) -> PublishedView | None:
    found = published.get(store, id, name)
    return None if found is None else PublishedView(id, name, secrets.to_builtins(found.value), moment(found.stamp))


def _missing(store: Store, id: str, name: str, text: str) -> PublishedView:
    names = [one.name for one in published.of_run(store, store.run(id).rid)]
    hint = f"it has published {', '.join(names)}" if names else "wait for it: perdure get --wait"
    raise NotFound(f"run {id} {text.format(name=name)}", f"see the run with `{commands.show(id)}`; {hint}")
