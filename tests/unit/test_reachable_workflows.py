"""A workflow that was moved into a module is found there, if the script has that still."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from perdure import step, workflow
from perdure.config.reachable_workflows import reachable_workflows
from perdure.core.execution.spec import spec_of


def made(name: str) -> Any:
    return workflow(name=name)(lambda: name)


def module(name: str, **names: Any) -> ModuleType:
    found = ModuleType(name)
    vars(found).update(names)
    return found


class Proxy:
    """Of an object that is not there, as web frameworks have them."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError


def test_workflows_are_found_in_modules_the_nearest_first() -> None:
    """Of several of one name as near as each other, none is; modules may have each other."""
    near, far, twin, other_twin, deep = (made(name) for name in ["mail", "mail", "twin", "twin", "deep"])
    low = module("low", far=far, deep=deep, proxy=Proxy())
    high = module("high", low=low, twin=twin, step=step(lambda: None, name="deeper"))
    beside = module("beside", twin=other_twin)
    script = module("script", mail=near, again=near, high=high, beside=beside)
    vars(low)["script"] = script
    assert [spec_of(one) for one in reachable_workflows(script)] == [spec_of(near), spec_of(deep)]
