"""The two drivers of a state file."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from perdure.engines.local.resources import Resources
from perdure.engines.local.sync_driver import SyncDriver

if TYPE_CHECKING:
    from perdure.engines.local.async_driver import AsyncDriver


class LocalDrivers:
    """Perform the core's effects, by blocking (`sync`) and by awaiting (`tasks`).

    Args:
        resources: the state file and what goes with it.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.sync = SyncDriver(resources, self)

    @cached_property
    def tasks(self) -> AsyncDriver:
        """The driver of async code; asyncio is imported with it, so scripts without it do not pay for it."""
        from perdure.engines.local.async_driver import AsyncDriver

        return AsyncDriver(self._resources, self, self.sync)
