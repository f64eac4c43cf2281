"""The public surface: what users can name is what `public_surface.txt` lists, and changes to it are made on purpose.

To accept a change: `python tests/test_public_surface.py > tests/public_surface.txt`.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import perdure
from perdure import Artifact, BoundStep, Handle, HeldLock, Step, Workflow, errors
from perdure.api.retry import RetryOptions
from perdure.api.step import StepOptions
from perdure.api.workflow import WorkflowOptions

ROOT = Path(__file__).parents[1]
SNAPSHOT = Path(__file__).with_name("public_surface.txt")

OPTIONS = {
    "step": (*StepOptions.__annotations__, "on_failure"),
    "workflow": tuple(WorkflowOptions.__annotations__),
    "retry": tuple(RetryOptions.__annotations__),
}
"""Decorators take their options as `**options`, so that a near miss is suggested; their types are TypedDicts."""

MADE_BY_PERDURE = (Artifact, Step, BoundStep, Workflow, Handle, HeldLock)
"""Exported for annotations: users do not call these classes, so their parameters are no part of the surface."""

PROTOCOLS = {"__call__", "__enter__", "__aenter__", "__await__"}
"""What a user does with an object by a special method. The others (comparison, hash, repr) are Python's contract."""


def parameters(function: object) -> str:
    """The parameters with their defaults, without types, as Python writes them."""
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "()"
    shown = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    own = [each for each in shown if each.name != "self"]
    return str(signature.replace(parameters=own, return_annotation=inspect.Signature.empty))


def names(shown: str | None) -> list[str]:
    """The bare names of parameters; without *args and **kwargs, which are those of the user's function."""
    return re.findall(r"(?<=[(, ])([a-z_]+)(?=[=,)])", shown or "")


def members(thing: type) -> Iterator[tuple[str, str | None]]:
    """The public attributes of a class and of those that it inherits from perdure; parameters where it is a method."""
    found: dict[str, str | None] = {}
    for kind in reversed(thing.__mro__):
        if not kind.__module__.startswith("perdure."):
            continue
        found |= {name: None for name in inspect.get_annotations(kind) if not name.startswith("_")}
        for name, value in vars(kind).items():
            if name.startswith("_") and name not in PROTOCOLS:
                continue
            called = inspect.isfunction(getattr(thing, name, None)) or isinstance(value, classmethod | staticmethod)
            found[name] = parameters(getattr(thing, name)) if called else None
    yield from sorted(found.items())


def public() -> Iterator[tuple[str, str, str | None]]:
    """Every public thing: the exported name that it belongs to, its own name, and its parameters where it has any."""
    for name in sorted(perdure.__all__):
        thing = getattr(perdure, name)
        if isinstance(thing, ModuleType):
            continue
        if name in OPTIONS:
            yield name, name, f"(fn=None, /, *, {', '.join(OPTIONS[name])})"
        elif isinstance(thing, Step):
            yield name, name, parameters(thing._spec.fn)
        else:
            yield name, name, None if thing in MADE_BY_PERDURE else parameters(thing)
        if isinstance(thing, type):
            yield from ((name, f"{name}.{member}", shown) for member, shown in members(thing))


def error_classes() -> list[type[BaseException]]:
    return [
        thing
        for _, thing in sorted(vars(errors).items())
        if isinstance(thing, type) and issubclass(thing, BaseException) and thing.__module__ == errors.__name__
    ]


def surface() -> Iterator[str]:
    """Every public name, one a line."""
    for _, name, shown in public():
        yield f"perdure.{name}{shown or ''}"
    for thing in error_classes():
        bases = ", ".join(base.__name__ for base in thing.__bases__)
        yield f"perdure.errors.{thing.__name__}({bases}) {vars(thing).get('code', '')}".rstrip()
        own = sorted(each for each in inspect.get_annotations(thing) if not each.startswith("_"))
        yield from (f"perdure.errors.{thing.__name__}.{each}" for each in own)


def sections() -> dict[str, str]:
    """The reference page: what it says under the heading of each name."""
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    parts = re.split(r"^### (.+)$", page, flags=re.MULTILINE)
    return {
        name: body
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
        for name in re.findall(r"`(?:perdure\.)?(\w+)`", heading)
    }


def missing(said: dict[str, str]) -> list[str]:
    """What is public and not named in code font in the section that it belongs to."""
    absent = []
    for name, full, shown in public():
        code = " ".join(re.findall(r"```.*?```|`[^`\n]+`", said.get(name, ""), flags=re.DOTALL))
        owner, _, member = full.partition(".")
        if name not in said:
            absent.append(owner)
        if member and member not in PROTOCOLS and not re.search(rf"(?<!\w){member}\b", code):
            absent.append(full)
        absent += [f"{full}({each})" for each in names(shown) if not re.search(rf"(?<!\w){each}\b", code)]
    return absent


def test_the_public_surface_is_as_agreed() -> None:
    """A change of it is a change of the snapshot too, and of the change log."""
    assert "\n".join(surface()) + "\n" == SNAPSHOT.read_text(encoding="utf-8")


def test_every_public_name_is_on_the_reference_page() -> None:
    """Every name, method, attribute, parameter and option has its place in docs/reference.md."""
    assert missing(sections()) == []


def test_the_attributes_of_errors_are_documented() -> None:
    """docs/errors.md has a row for each class (a test of the docs says so), and names what an error carries."""
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    carried = {name for thing in error_classes() for name in inspect.get_annotations(thing) if name[0] != "_"}
    assert {"code", "what", "hint", "retry_after", "error"} <= carried
    assert [name for name in sorted(carried) if f"`{name}`" not in page and f".{name}`" not in page] == []


def test_a_name_that_the_page_does_not_have_is_noticed() -> None:
    """The check can fail: for a name, for a method, and for an option."""
    said = sections()
    del said["uuid"]
    said["Batch"] = said["Batch"].replace("raise_if_dead", "")
    said["step"] = said["step"].replace("isolate", "")
    assert missing(said) == ["Batch.raise_if_dead", "step(isolate)", "uuid"]


def test_the_page_has_no_name_that_does_not_exist() -> None:
    """What was removed is removed from the page."""
    assert set(sections()) - set(perdure.__all__) == set()


@pytest.mark.parametrize("name", perdure.__all__)
def test_every_name_has_a_docstring_with_its_parameters(name: str) -> None:
    """Hovers and help() show it: each option and each parameter is explained under Args or Attributes."""
    thing = getattr(perdure, name)
    doc = inspect.getdoc(thing) or ""
    assert doc
    for owner, full, shown in public():
        if owner == name == full:
            lines = [each.strip() for each in doc.splitlines()]
            assert [each for each in names(shown) if not any(f"{each}:" in line for line in lines)] == []


def test_every_method_has_a_docstring() -> None:
    """Hovers show it."""
    bare = []
    for name, full, _ in public():
        member = full.partition(".")[2]
        value = inspect.getattr_static(getattr(perdure, name), member, None) if member else None
        if (inspect.isfunction(value) or isinstance(value, property)) and not inspect.getdoc(value):
            bare.append(full)
    assert bare == []


def test_objects_have_no_attributes_but_those_of_the_surface() -> None:
    """What `__init__` sets without an underscore is declared on the class, so that the snapshot shows it."""
    undeclared = []
    for name in perdure.__all__:
        thing = getattr(perdure, name)
        kinds = [each for each in getattr(thing, "__mro__", ()) if each.__module__.startswith("perdure.api.")]
        for kind in kinds:
            declared = {member for member, _ in members(thing)}
            for node in ast.walk(ast.parse(inspect.getsource(kind))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
                    if of_self and not node.attr.startswith("_") and node.attr not in declared:
                        undeclared.append(f"{name}.{node.attr}")
    assert undeclared == []


def test_nothing_looks_public_by_accident() -> None:
    """After `import perdure`, in a fresh process, `dir(perdure)` has what is exported, and Python's own attributes."""
    program = "import perdure; print(*[name for name in dir(perdure) if not name.startswith('__')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(perdure.__all__)


if __name__ == "__main__":
    print("\n".join(surface()))
