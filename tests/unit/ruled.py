"""A step for tests of rules that look at calls, not at what they do."""

from __future__ import annotations

from typing import Any

from perdure.api.step import step
from perdure.core.execution.spec import Spec, spec_of


def a_spec(ensure: Any = None) -> Spec:
    """A new one each time: a test may change its rules."""

    @step(name="ruled", ensure=ensure)
    def ruled(x: int = 0) -> int:
        return x

    spec = spec_of(ruled)
    assert spec is not None
    return spec
