"""The child's side of an isolated attempt; the arguments of the program are READ_FD and WRITE_FD."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from perdure.config.script_loader import load_module
from perdure.core.exceptions import capture
from perdure.core.execution.spec import Call, Spec, spec_of
from perdure.core.values import artifact_names
from perdure.engines.interface import StepContext, here
from perdure.engines.runtime.isolated_step import Answer, Order


def main() -> None:
    """Read an order, do it, write the answer."""
    reading, writing = int(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(reading, "rb") as request:
        order = msgspec.msgpack.decode(request.read(), type=Order)
    answer = answer_to(order)
    with os.fdopen(writing, "wb") as reply:
        reply.write(msgspec.msgpack.encode(answer))


def answer_to(order: Order) -> Answer:
    """Call the step that the order names."""
    try:
        spec = _find(order)
        args, kwargs = spec.arguments(order.input)
        call = Call(spec, tuple(args), kwargs, order.input, order.key)
        call.n = order.n
        artifact_names.isolated = Path(order.artifacts) if order.artifacts else None
        here.set(StepContext(order.run_id, call, order.attempt, None))
        value: Any = spec.fn(*args, **kwargs)
        if spec.is_async:
            import asyncio

            value = asyncio.run(value)
        return Answer(True, spec.plan.pack(value))
    except Exception as error:  # noqa: BLE001  it is the parent's to judge
        return Answer(False, capture.encode(capture.to_fault(error)))


def _find(order: Order) -> Spec:
    # The order comes from the parent through a pipe; it is not stored data.
    sys.path[:] = order.path
    module = load_module(order.module, order.file)
    found: object = module
    for name in order.qualname.split("."):
        found = getattr(found, name)
    spec = spec_of(found)
    assert spec is not None, f"{order.qualname} is no step in the child"
    return spec


if __name__ == "__main__":
    main()
