"""Scripts that cannot be loaded: what is said of each, and who is alerted."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from perdure.engines.local.worker.messages import Broken, Loaded
from perdure.engines.local.worker.overdue import Lookout


class BrokenScripts:
    """Remembers what was said.

    Args:
        show: called with a script that cannot be loaded.
        lookout: sends the alerts.
    """

    def __init__(self, show: Callable[[Broken], None], lookout: Lookout) -> None:
        self._show = show
        self._lookout = lookout
        self._known: dict[str, Broken] = {}  # by path, as it was said last

    def say(self, broken: Broken) -> None:
        """Once for each state of its file, and its traceback once for each error."""
        before = self._known.get(broken.path)
        if before == broken:
            return
        self._known[broken.path] = broken
        same = before is not None and before.traceback == broken.traceback
        self._show(msgspec.structs.replace(broken, traceback="") if same else broken)

    def alert(self, broken: Broken, loaded: Iterable[Loaded], *, serves: bool) -> None:
        """Alert whom the workflows of the script have named, as far as one of these loads has seen them."""
        known = {
            address
            for one in loaded
            for found in one.workflows
            if found.script == broken.script
            for address in found.alerts
        }
        self._lookout.alert_broken(broken, tuple(sorted(known)), serves=serves)
