"""The items of a map in tasks, drawn one after the other, also from what has to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from perdure.core.execution.drift import settle
from perdure.core.execution.map_items import Job
from perdure.core.execution.spec import Call
from perdure.engines.runtime.base_map import BaseMap


class DrawnItems:
    """Draws items for the tasks that are free, for one task at a time.

    Args:
        owner: the map, whose feed says which item may start.
        items: what to draw from.
        bind: makes the call of an item.
    """

    def __init__(
        self, owner: BaseMap[Any], items: Iterable[Any] | AsyncIterable[Any], bind: Callable[[Any], Call]
    ) -> None:
        self._owner = owner
        self._bind = bind
        self._sync = iter(items) if isinstance(items, Iterable) else None
        self._async = None if isinstance(items, Iterable) else aiter(items)
        self._turn = asyncio.Lock()
        self._exhausted = False

    @property
    def waits(self) -> bool:
        """May the next item have to be waited for?"""
        return self._sync is None or bool(self._owner.feed.held)

    def ready(self) -> Job | None:
        """The next item that may start, if it can be had without waiting."""
        feed = self._owner.feed
        if self._sync is None or self._turn.locked():
            return feed.released()
        while not self._exhausted:
            if feed.held:
                job = feed.released()
                if job is not None:
                    return job
            try:
                call = self._bind(next(self._sync))
            except StopIteration:
                self._exhausted = True
                break
            job = feed.offer(call)
            if job is not None:
                return job
            if feed.waiting(exhausted=False) is not None:
                return None
        return feed.released()

    async def next(self) -> Job | None:
        """The next item, after waiting for what has to come first; None if there are no more."""
        feed = self._owner.feed
        async with self._turn:
            while True:
                job = feed.released()
                if job is not None:
                    return job
                blocked = feed.waiting(exhausted=self._exhausted)
                owner = self._owner
                if blocked is not None and not owner.stopped:
                    record = await owner.scope.drive_in_task(settle(blocked.call, owner.history))
                    if record is not None:
                        return feed.adopt(record.seq)
                elif self._exhausted:
                    return None
                else:
                    job = await self._draw()
                    if job is not None:
                        return job

    async def _draw(self) -> Job | None:
        try:
            drawn = next(self._sync) if self._sync is not None else await anext(self._async)  # type: ignore[arg-type]
        except (StopIteration, StopAsyncIteration):
            self._exhausted = True
            return None
        return self._owner.feed.offer(self._bind(drawn))
