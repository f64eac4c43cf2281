"""The event loop of the caller, if there is one; asyncio is not imported to find out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import asyncio


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread; asyncio is not imported for that."""
    # None while another thread is about to import asyncio, too.
    found = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if found is None else cast("asyncio.AbstractEventLoop | None", found())
