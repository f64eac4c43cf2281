"""The public surface: what users can name is what `public_surface.txt` lists, and changes to it are made on purpose.

To accept a change: `python tests/test_public_surface.py > tests/public_surface.txt`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import perdure
from perdure import errors
from perdure.api.handle import Handle
from perdure.api.step import BoundStep, Step, StepOptions
from perdure.api.workflow import Workflow, WorkflowOptions

SNAPSHOT = Path(__file__).with_name("public_surface.txt")


def parameters(function: object) -> str:
    """The parameters, without their types."""
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    shown = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values() if p.name != "self"]
    bare = signature.replace(parameters=shown, return_annotation=inspect.Signature.empty)
    return str(bare)


def members(name: str, thing: type) -> Iterator[str]:
    for attribute, value in sorted(vars(thing).items()):
        if attribute.startswith("_") and attribute not in ("__call__", "__await__"):
            continue
        if inspect.isfunction(value) or isinstance(value, classmethod | staticmethod):
            yield f"{name}.{attribute}{parameters(getattr(thing, attribute))}"
        else:
            yield f"{name}.{attribute}"


def surface() -> Iterator[str]:
    """Every public name, one a line."""
    for name in sorted(perdure.__all__):
        thing = getattr(perdure, name)
        if isinstance(thing, Step):
            yield f"perdure.{name}{parameters(thing._spec.fn)}"
        else:
            yield f"perdure.{name}{parameters(thing)}"
            if isinstance(thing, type):
                yield from members(f"perdure.{name}", thing)
    for options in (StepOptions, WorkflowOptions):
        yield f"{options.__name__}: {', '.join(options.__annotations__)}"
    for kind in (Step, BoundStep, Workflow, Handle):
        yield from members(kind.__name__, kind)
    for name, thing in sorted(vars(errors).items()):
        if isinstance(thing, type) and issubclass(thing, BaseException) and thing.__module__ == errors.__name__:
            bases = ", ".join(base.__name__ for base in thing.__bases__)
            yield f"perdure.errors.{name}({bases}) {vars(thing).get('code', '')}".rstrip()


def test_the_public_surface_is_as_agreed() -> None:
    """Whoever changes it changes the snapshot too, and says so in the change log."""
    assert "\n".join(surface()) + "\n" == SNAPSHOT.read_text(encoding="utf-8")


def test_all_names_are_documented() -> None:
    """Every public name has a docstring."""
    bare = [name for name in perdure.__all__ if not inspect.getdoc(getattr(perdure, name))]
    assert not bare


if __name__ == "__main__":
    print("\n".join(surface()))
