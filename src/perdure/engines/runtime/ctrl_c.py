"""Whether Ctrl-C is what cancels the task of an event loop."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in timeouts


def ctrl_c_in_loop() -> bool:
    """Has `asyncio.run` cancelled its main task because of SIGINT? Its handler is a bound method of a Runner."""
    handler = _signal.getsignal(_signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return bool(getattr(runner, "_interrupt_count", 0))
