"""A key for every call: the same over attempts and deaths, and no other call has it."""

from __future__ import annotations

import pytest

import perdure
from conftest import Machine, Trouble
from perdure import Retry, step, workflow


def test_idempotency_keys(machine: Machine) -> None:
    """The same for all attempts and after a resume; different for every other call and in every other run."""
    broken = [True]

    @step(retry=Retry(attempts=2, jitter=0))
    def work(n: int) -> None:
        machine.ran.append((n, perdure.idempotency_key()))
        if n == 2 and broken[0]:
            raise Trouble

    @workflow
    def wf() -> None:
        work(1)
        work(1)
        work(2)

    with pytest.raises(Trouble):
        wf()
    machine.boot()
    broken[0] = False
    wf()
    keys = [key for _, key in machine.ran]  # type: ignore[misc]
    assert len(keys) == 5
    assert keys[2] == keys[3] == keys[4]
    assert len(set(keys)) == 3
    assert all(len(key) == 32 and int(key, 16) for key in keys)
    wf()
    assert not set(keys) & {key for _, key in machine.ran[5:]}  # type: ignore[misc]
