"""The simulations of the proof of the core: what holds is found broken as soon as the core is."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from tests.proof import simulation

ENOUGH = 100
"""Simulations; each of the rules is found broken by the 25th."""


@pytest.mark.parametrize("rule", simulation.BROKEN)
def test_a_broken_rule_of_the_core_is_found(rule: str) -> None:
    """Whoever breaks a rule of the core hears of it; the functions that the controls replace are those of the core."""
    holder, attribute, broken = simulation.BROKEN[rule]
    with patch.object(holder, attribute, broken):
        assert any(simulation.campaign(f"{rule} {number}", 1)[2] for number in range(ENOUGH))
