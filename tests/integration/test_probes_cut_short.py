"""A probe that is cancelled, or seen from a forked child, neither keeps its place nor frees that of another process."""

from __future__ import annotations

import asyncio
import os

import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.api.breaker import Breaker
from perdure.errors import BreakerOpen


def test_a_cancelled_probe_frees_its_place(machine: Machine) -> None:
    """A probe that is broken off says nothing, and the next caller probes."""
    breaker, entered = Breaker("svc", failures=1, cooldown="1s"), asyncio.Event()

    @step(breaker=breaker, retry=None, timeout=None)
    async def call(kind: str) -> str:
        if kind == "fail":
            raise Trouble
        if kind == "hang":
            entered.set()
            await asyncio.Event().wait()
        return kind

    @workflow
    async def main() -> str:
        try:
            await call("fail")
        except Trouble:
            machine.world.time += 2
        hanging = asyncio.ensure_future(call("hang"))
        await asyncio.wait_for(entered.wait(), 10)
        assert breaker.state == "half-open"
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        return await call("well")

    assert asyncio.run(main()) == "well"
    assert breaker.state == "closed"


def test_a_forked_child_has_a_lease_of_its_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The child of a process that used a breaker uses it too; the parent's probe is freed neither by its life nor by
    its death."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    breaker = Breaker("svc", failures=1, cooldown="10ms", when_open="wait")
    with pytest.raises(Trouble), breaker:
        raise Trouble
    with breaker:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                Breaker("svc", when_open="fail").call(len, "")
            except BreakerOpen:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert breaker.state == "half-open"
    assert breaker.state == "closed"
