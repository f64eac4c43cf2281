"""What the tests of suspended runs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conftest import Machine
from perdure.core.records import RunRecord
from perdure.errors import Suspended


def newest(machine: Machine) -> RunRecord:
    """The run that began last, of those that are no child's."""
    return next(run for run in machine.engine.store.runs() if run.parent is None)


def left(flow: Callable[[], Any]) -> Suspended:
    """With what a workflow is left that only waits."""
    with pytest.raises(Suspended) as caught:
        flow()
    return caught.value
