"""What Temporal's SDK logs of a worker's activities: that the cluster is away is one line, and no traceback each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from temporalio.service import RPCError

from perdure.config.steady_clock import steady
from perdure.core.redaction.printable import one_line
from perdure.engines.temporal.connection import is_gone
from perdure.errors import DecryptionError, EngineError

AGAIN: Final = 60.0
"""Seconds after which it is said again that the cluster is away."""


class Away(logging.Filter):
    """Takes out the record of an attempt that failed since the cluster cannot be reached: it is made again anyway.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        super().__init__()
        self._clock = clock
        self._said = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Is the record to be logged?"""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RPCError) and is_gone(error):
            what = f"the Temporal cluster does not answer ({error.message})"
        elif isinstance(error, EngineError) and not isinstance(error, DecryptionError):
            what = error.what
        else:
            return True
        if self._clock() - self._said >= AGAIN:
            self._said = self._clock()
            logging.getLogger("perdure").warning(
                "%s; what waits for it is tried again until it is back", one_line(what)
            )
        return False


def quieten() -> None:
    """Let the SDK's log of activities pass through the filter, once in a process."""
    logger = logging.getLogger("temporalio.activity")
    if not any(isinstance(each, Away) for each in logger.filters):
        logger.addFilter(Away())
