"""What is kept of the inputs of a call (`@step(input=...)`): all of them, or a text and a digest once it is done."""

from __future__ import annotations

from perdure.core.execution.spec import Call
from perdure.core.values.digested import LONGEST, digested


def kept_input(call: Call) -> bytes:
    """What stands in the records of the call that nobody makes again from them."""
    if call.spec.input_kept == "whole" or len(call.input) <= LONGEST:
        return call.input
    return digested(call.input)
