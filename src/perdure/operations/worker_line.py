"""The first line of a worker: what it serves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from perdure.config.time_zones import zone
from perdure.errors import OptionError
from perdure.store import claims, queue_listing, schedules
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.engines.local.worker.messages import Loaded

SHOWN = 5
"""Queues that are named."""


def first_line(names: Sequence[str], queues: Sequence[str], loaded: Sequence[Loaded], store: Store) -> str:
    """What a worker serves, and that it is ready.

    Args:
        names: of the scripts and modules.
        queues: the only queues that it serves; empty: all.
        loaded: what its processes have loaded.
        store: the state file.

    Raises:
        StateError: the state file cannot be read.
    """
    workflows = {(found.script, found.name) for one in loaded for found in one.workflows if not found.imported}
    parts = [_count(len(workflows), "workflow"), *_schedules(workflows, store), *_queues(queues, store)]
    asleep = claims.sleeping(store)
    broken = {one.path for each in loaded for one in each.broken}
    text = f"serving {', '.join(names)}: {', '.join(parts)}"
    if asleep:
        text += f"; {asleep:,} {'run sleeps' if asleep == 1 else 'runs sleep'}"
    if broken:
        text += f"; {_count(len(broken), 'script')} cannot be loaded"
    return f"{text}; ready"


def _schedules(workflows: set[tuple[str, str]], store: Store) -> list[str]:
    """The schedules of these workflows, and which run of them is next."""
    mine = [one for one in schedules.every(store) if (one.script, one.workflow) in workflows]
    active = [one for one in mine if one.status == "active"]
    if not active:
        return []
    following = min((one for one in active if one.due is not None), key=lambda one: one.due or 0.0, default=None)
    if following is None or following.due is None:
        return [_count(len(active), "schedule")]
    return [f"{_count(len(active), 'schedule')} (next: {following.name}, {_time(following.due, following.tz)})"]


def _time(due: float, tz: str) -> str:
    """In the zone of the schedule; the day is said if it is another one."""
    try:
        where: tzinfo | None = zone(tz)
    except OptionError:  # this machine does not know it, which is said elsewhere
        where = None
    local = datetime.fromtimestamp(due, where).astimezone(where)
    today = datetime.now(where).astimezone(where).date()
    form = "%H:%M" if local.date() == today else "%Y-%m-%d %H:%M"
    return f"{local.strftime(form + (':%S' if local.second else ''))} {local.tzname()}"


def _queues(only: Sequence[str], store: Store) -> list[str]:
    """The queues that were declared, each with its runs at a time; or the only ones that are served."""
    declared = {
        name: row for name, (row, _) in queue_listing.all_queues(store).items() if row is not None and row.declared
    }
    found = []
    for name in only or declared:
        row = declared.get(name)
        limit = "" if row is None or row.concurrency is None else f" {row.concurrency}"
        paused = ", paused" if row is not None and row.paused else ""
        found.append(f"queue {name}{limit}{paused}")
    return found if len(found) <= SHOWN else [*found[:SHOWN], f"{len(found) - SHOWN} more queues"]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
