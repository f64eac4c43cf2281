"""What a command would take for an option, or for the newest run, is refused where it is given as a name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perdure import Queue, workflow
from perdure.errors import OptionError


def nothing() -> None:
    """What is named."""


@pytest.mark.parametrize(
    "name",
    [
        lambda: workflow(nothing).with_options(id="-x"),
        lambda: workflow(nothing).with_options(id="last"),
        lambda: workflow(nothing, name="-x"),
        lambda: workflow(nothing, schedule="0 3 * * *", name="-x"),
        lambda: Queue("-x"),
    ],
    ids=["id", "last", "workflow", "schedule", "queue"],
)
def test_it_is_refused(name: Callable[[], object]) -> None:
    """A hint that names it could not be copied."""
    with pytest.raises(OptionError, match="command"):
        name()
