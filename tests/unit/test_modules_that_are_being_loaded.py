"""Modules that another thread is about to load are there, and nothing is in them yet."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from perdure.engines.runtime import thread_branches


@pytest.mark.parametrize("module", ["asyncio.base_events", "concurrent.futures.thread", "multiprocessing.process"])
def test_what_starts_threads_is_wrapped_when_its_module_is_whole(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that begins while another thread of its process loads asyncio does not fail."""
    thread_branches.install()  # what is there stays wrapped once
    monkeypatch.setitem(thread_branches._unwrapped, module, ("Class", "start", lambda start: start))
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    thread_branches.install()
    assert module in thread_branches._unwrapped
