"""`perdure get`: what a run has published, from the state file alone."""

from __future__ import annotations

import re
from datetime import datetime
from time import sleep
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core import commands
from perdure.core.redaction import names
from perdure.core.signal_links import PREFIX
from perdure.core.timestamps import moment
from perdure.core.values import codec
from perdure.engines.features import Feature
from perdure.engines.selection import cluster_at
from perdure.errors import NotFound
from perdure.operations.find_run import find_run
from perdure.operations.location import Location, opened
from perdure.store import published
from perdure.store.bell import Bell
from perdure.store.runs import Store

TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]+")
HIDDEN = f"{PREFIX}***"
"""How a link's token is shown elsewhere."""

POLL = 0.2
"""Seconds between two looks at a cluster."""
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
        NotFound: there is no such run, or it has not published that, or not in time, or has ended without.
        StateError: the state file cannot be read.
        EngineError: the cluster cannot be reached.
    """
    from perdure.config.steady_clock import steady

    if not location.supports(Feature.STATE_FILE):
        return _on_cluster(location, reference, name, seconds if wait else 0.0)
    with opened(location, reference) as store:
        id = find_run(store, reference).id
        if not wait:
            ended = store.run(id).status in OVER  # looked at first: it may publish at its end
            text = "has ended without {name!r}" if ended else "has not published {name!r}, yet"
            return _looked(store, id, name) or _missing(store, id, name, text, ended=ended)
        bell = Bell(location.path)
        try:
            with bell.listen() as ear:
                began = steady()
                while (found := _looked(store, id, name)) is None:
                    if store.run(id).status in OVER and _looked(store, id, name) is None:
                        return _missing(store, id, name, "has ended without {name!r}", ended=True)
                    left = float("inf") if seconds is None else seconds - (steady() - began)
                    if left <= 0:
                        return _missing(store, id, name, "has not published {name!r} in time")
                    ear.wait(left)
                return found
        finally:
            bell.close()


def _on_cluster(location: Location, reference: str, name: str, seconds: float | None) -> PublishedView:
    """The same on a cluster, which rings no bell: it is asked again and again."""
    from perdure.config.steady_clock import steady

    with opened(location, reference) as store:
        id = find_run(store, reference).id
    engine, began = cluster_at(location.engine), steady()
    while True:
        over = seconds != 0 and engine.status(id) in OVER
        shown = engine.published(id)
        if name in shown:
            return _view(id, name, *shown[name])
        if over or (seconds is not None and steady() - began >= seconds):
            what = "has ended without" if over else "has not published" + ("" if seconds else ", yet:")
            raise _unpublished(id, f"{what} {name!r}", sorted(shown), ended=over)
        sleep(POLL)


def _looked(store: Store, id: str, name: str) -> PublishedView | None:
    found = published.get(store, id, name)
    if found is None:
        return None
    return _view(id, name, found.value, found.stamp)


def _view(id: str, name: str, value: bytes, stamp: float) -> PublishedView:
    whole = codec.to_builtins(value)
    if names.is_secret(name) and not (isinstance(whole, str) and TOKEN.search(whole)):
        return PublishedView(id, name, names.HIDDEN, moment(stamp))
    shown = _with_links(secrets.to_builtins(value), whole)
    return PublishedView(id, name, shown, moment(stamp))


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


def _missing(store: Store, id: str, name: str, text: str, *, ended: bool = False) -> PublishedView:
    names = [one.name for one in published.of_run(store, store.run(id).rid)]
    raise _unpublished(id, text.format(name=name), names, ended=ended)


def _unpublished(id: str, text: str, names: list[str], *, ended: bool) -> NotFound:
    more = f"; it has published {', '.join(names)}" if names else "" if ended else "; wait for it: perdure get --wait"
    return NotFound(f"run {id} {text}", f"see the run with `{commands.show(id)}`{more}")
