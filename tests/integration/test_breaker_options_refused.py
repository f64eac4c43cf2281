"""Options of breakers and rate limits that are out of range are refused when they are given."""

from __future__ import annotations

import pytest

from perdure import step
from perdure.api.breaker import Breaker
from perdure.errors import OptionError


@pytest.mark.parametrize(
    "options",
    [
        {"breaker": 3},
        {"breaker": ""},
        {"rate": "fast"},
        {"rate": 10},
    ],
)
def test_what_cannot_be_is_refused(options) -> None:  # type: ignore[no-untyped-def]
    """When the decorator runs."""
    with pytest.raises(OptionError):
        step(**options)(lambda: None)


@pytest.mark.parametrize(
    "options",
    [
        {"failures": 0},
        {"ratio": 1.5},
        {"cooldown": 0},
        {"cooldown_factor": 0.5},
        {"probes": True},
        {"when_open": "hope"},
        {"minimum": "3"},
    ],
)
def test_a_breaker_that_cannot_be_is_refused(options) -> None:  # type: ignore[no-untyped-def]
    """When it is made."""
    with pytest.raises(OptionError):
        Breaker("svc", **options)
