"""Power cuts: what was acknowledged is on the disk, whatever became of the rest."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from . import power
from .cases import Ground
from .conftest import SEED
from .shape import RECORDED, SHAPES

CUTS = 2
"""Of each shape; the long run makes ten, and again."""


@pytest.mark.parametrize("name", RECORDED)
def test_after_a_power_cut_no_visible_result_is_lost(ground: Ground, name: str, tmp_path: Path) -> None:
    """Cuts at random points of a run; unsynced writes are dropped, reordered and torn by sector."""
    shape = SHAPES[name]
    outcome = power.cut(ground.nursery, shape, ground.reference(shape), tmp_path, random.Random(f"{SEED}/{name}"), CUTS)
    assert not outcome.violations, outcome.report()
    assert outcome.kills["power"] > 0


@pytest.mark.parametrize("name", ["sequential", "gather", "map_threads"])
def test_control_a_disk_that_lies_about_syncs_loses_results(ground: Ground, name: str, tmp_path: Path) -> None:
    """The same cuts find losses as soon as a sync is a word only, so they would find a missing one too."""
    shape = SHAPES[name]
    expected = ground.reference(shape)
    outcome = power.cut(ground.nursery, shape, expected, tmp_path, random.Random(1), 10, honest=False)
    assert {"again", "lost"} & {violation.kind for violation in outcome.violations}
