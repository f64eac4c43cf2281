"""`perdure get`: what a run has published, from the state file alone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core import commands
from perdure.core.signal_links import PREFIX
from perdure.core.timestamps import moment
from perdure.core.values import codec
from perdure.engines.features import Feature
from perdure.errors import NotFound
from perdure.operations.find_run import find_run
from perdure.operations.location import Location, opened
from perdure.store import published
from perdure.store.bell import Bell
from perdure.store.runs import Store

TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]+")
HIDDEN = f"{PREFIX}***"
"""How a link's token is shown elsewhere."""

OVER = ("done", "failed", "parked", "cancelled")
"""A run that stands so publishes nothing more by itself."""


class PublishedView(msgspec.Struct, frozen=True):
    """A value that a run has published, as plain data without credentials; links of the run are whole."""

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
    if found is None:
        return None
    value = _with_links(secrets.to_builtins(found.value), codec.to_builtins(found.value))
    return PublishedView(id, name, value, moment(found.stamp))


def _with_links(shown: Any, whole: Any) -> Any:
    """The value that is asked for by name is for whom it was published: links for signals in it can be used.

    Args:
        shown: without credentials.
        whole: the same, with them.
    """
    if isinstance(shown, dict) and isinstance(whole, dict):
        return {key: _with_links(value, whole[key]) if key in whole else value for key, value in shown.items()}
    if isinstance(shown, list) and isinstance(whole, list):
        return [_with_links(one, other) for one, other in zip(shown, whole, strict=True)]
    if not isinstance(shown, str) or not isinstance(whole, str):
        return shown
    tokens = TOKEN.findall(whole)
    pieces = shown.split(HIDDEN)
    if len(pieces) != len(tokens) + 1:
        return shown
    return pieces[0] + "".join(token + piece for token, piece in zip(tokens, pieces[1:], strict=True))


def _missing(store: Store, id: str, name: str, text: str) -> PublishedView:
    names = [one.name for one in published.of_run(store, store.run(id).rid)]
    hint = f"it has published {', '.join(names)}" if names else "wait for it: perdure get --wait"
    raise NotFound(f"run {id} {text.format(name=name)}", f"see the run with `{commands.show(id)}`; {hint}")
