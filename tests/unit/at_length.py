"""Property tests in two lengths: few examples each time, and many with `-m long`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

MANY = settings(max_examples=2000, deadline=None, derandomize=False, suppress_health_check=list(HealthCheck))


def at_length(few: Any, cases: Callable[[Any], Any]) -> None:
    """Run a property test again, with many examples.

    Args:
        few: the test as it is collected.
        cases: what `given` has made of its strategies.
    """
    MANY(cases(few.hypothesis.inner_test))()
