"""The promises of the design, on both engines: the same results, the same order of steps, the same attempts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conformance.bench import Bench
from tests.conformance.conftest import Server
from tests.conformance.shapes import SHAPES

_traces: dict[tuple[str, str], Any] = {}


def trace_of(name: str, engine: str, folder: Path) -> Any:
    """What happens when a shape runs on an engine; each is run once in a session."""
    kind = engine.partition(":")[0]
    if (name, kind) not in _traces:
        with Bench(engine, folder).in_force() as bench:
            SHAPES[name](bench)
            _traces[name, kind] = bench.trace()
    return _traces[name, kind]


@pytest.mark.parametrize("name", SHAPES)
def test_local(name: str, tmp_path: Path) -> None:
    """On one machine, the shape goes as it says."""
    trace_of(name, "local", tmp_path)


@pytest.mark.parametrize("name", SHAPES)
def test_temporal(name: str, tmp_path: Path, server: Server) -> None:
    """On a cluster, the shape goes as it says."""
    trace_of(name, server.url(), tmp_path)


@pytest.mark.parametrize("name", SHAPES)
def test_they_agree(name: str, tmp_path: Path, server: Server) -> None:
    """Results, errors, steps, their order and the numbers of their attempts are the same on both."""
    assert trace_of(name, server.url(), tmp_path) == trace_of(name, "local", tmp_path)
