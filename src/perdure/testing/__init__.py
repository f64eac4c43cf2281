"""What the tests of scripts that use perdure need: a state of their own, a clock that jumps, crashes that are chosen.

from perdure.testing import assert_resumable, durable
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.operations.diagnose_finding import Finding as Finding
    from perdure.testing.clock import Clock as Clock
    from perdure.testing.ledger import Ledger as Ledger
    from perdure.testing.moved_clock import TimeTravel as TimeTravel
    from perdure.testing.moved_clock import time_travel as time_travel
    from perdure.testing.resumable import Report as Report
    from perdure.testing.resumable import assert_resumable as assert_resumable
    from perdure.testing.trial import Crash as Crash
    from perdure.testing.trial import TestRun as TestRun
    from perdure.testing.trial import durable as durable

_PLACES = {
    "Clock": "perdure.testing.clock",
    "Finding": "perdure.operations.diagnose_finding",
    "Ledger": "perdure.testing.ledger",
    "Report": "perdure.testing.resumable",
    "assert_resumable": "perdure.testing.resumable",
    "TimeTravel": "perdure.testing.moved_clock",
    "time_travel": "perdure.testing.moved_clock",
    "Crash": "perdure.testing.trial",
    "TestRun": "perdure.testing.trial",
    "durable": "perdure.testing.trial",
}

__all__ = [
    "Clock",
    "Crash",
    "Finding",
    "Ledger",
    "Report",
    "TestRun",
    "TimeTravel",
    "assert_resumable",
    "durable",
    "time_travel",
]


def __getattr__(name: str) -> Any:
    """Each is loaded when it is used: pytest imports this package in every project where perdure is installed."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
