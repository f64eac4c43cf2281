"""Every test in this folder starts real processes: it is marked `crash`, and shares one nursery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cases import Ground

SEED = 20261123


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("crash")


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    with Ground(SEED) as ground:
        yield ground
