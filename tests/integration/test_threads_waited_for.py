"""A thread of a workflow that waits in code of which nothing is known."""

from __future__ import annotations

import os
import threading

import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.engines.runtime import thread_rest


def test_what_a_new_call_waits_for_is_said_once_and_names_the_place(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An edited script may wait for its thread for half a minute: a line says so long before, and where it is."""
    monkeypatch.setattr(thread_rest, "SAY_SECONDS", 0.05)
    monkeypatch.setattr(thread_rest, "BUSY_SECONDS", 0.2)
    edited = [False]
    end, other_end = os.pipe()

    @step(retry=None)
    def work(n: int) -> int:
        return n

    @step(retry=None)
    def new() -> None:
        if not edited[0]:
            raise Trouble

    def in_thread() -> None:
        if edited[0]:
            os.read(end, 1)  # until the workflow has made its call
        else:
            work(1)

    @workflow
    def main() -> None:
        thread = threading.Thread(target=in_thread)
        thread.start()
        if not edited[0]:
            thread.join()
        new()
        os.write(other_end, b"x")
        thread.join()

    with pytest.raises(Trouble):
        main()
    edited[0] = True
    caplog.set_level("INFO", "perdure")
    machine.boot()
    main()
    (line,) = [line for line in caplog.messages if "has to wait: a thread" in line]
    assert f"{__file__}:" in line
