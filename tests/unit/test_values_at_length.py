"""The properties of stored values, for thousands of them."""

from __future__ import annotations

from typing import Any

import pytest
import test_values as short
from at_length import at_length
from hypothesis import given


@pytest.mark.long
@pytest.mark.parametrize(
    ("test", "cases"),
    [
        (short.test_every_builtin_value_comes_back_the_same, given(short.values)),
        (short.test_arguments_come_back_the_same, short.ARGUMENTS),
        (short.test_listings_can_show_any_stored_value, given(short.values)),
    ],
    ids=["values", "arguments", "listings"],
)
def test_values_at_length(test: Any, cases: Any) -> None:
    """What holds for some values holds for thousands."""
    at_length(test, cases)
