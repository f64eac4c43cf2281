"""How long a worker waits before it tries again what keeps failing."""

from __future__ import annotations

FIRST, SLOWEST = 1.0, 30.0
"""Seconds: after the first failure, and at most."""


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 and so on; none after none."""
    return min(FIRST * 2.0 ** min(failures - 1, 10), SLOWEST) if failures > 0 else 0.0
