"""Memory that runs out while a value is encoded or decoded is a MemoryError, never "this value cannot be stored"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from conftest import Machine
from perdure import Retry, register_codec, step, workflow
from perdure.core.values import codec


@dataclass
class Big:
    size: int


full: set[str] = set()


def encode(value: Big) -> int:
    if "encode" in full:
        raise MemoryError
    return value.size


def decode(size: int) -> Big:
    if "decode" in full:
        raise MemoryError
    return Big(size)


register_codec(Big, encode, decode, name="tests.memory.Big")


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    yield
    full.clear()


@pytest.mark.parametrize("when", ["encode", "decode"])
def test_it_is_a_failure_of_the_attempt(machine: Machine, when: str) -> None:
    """The step is tried again as after any MemoryError of its own, and fails with it."""

    @step(retry=Retry(attempts=2, jitter=0, on=MemoryError))
    def load() -> Big:
        machine.ran.append(1)
        full.add(when)
        if len(machine.ran) == 2:
            full.clear()
        return Big(3)

    @workflow
    def wf() -> Big:
        return load()

    assert wf() == Big(3)
    assert len(machine.ran) == 2


def test_recorded_arguments_that_do_not_fit_into_memory_are_no_other_type() -> None:
    """NotDecodable would say that the script has changed."""
    plan = codec.plan(Big, owner="step 'load'")
    data, inputs = plan.pack(Big(3)), codec.pack_inputs([Big(3)], {}, owner="step 'load'")
    full.add("decode")
    with pytest.raises(MemoryError):
        plan.unpack(data)
    with pytest.raises(MemoryError):
        codec.unpack_inputs(inputs, [plan], owner="step 'load'")
