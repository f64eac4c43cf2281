"""Every step and workflow that this process has defined, by what another process calls it.

A worker is asked for "step charge of nightly" and looks here: among what its scripts have defined, and nowhere else.
Stored data can name an entry of this table, never a piece of code.
"""

from __future__ import annotations

from perdure.core.execution.spec import Spec
from perdure.errors import NotFound

_known: dict[tuple[str, str, str], Spec] = {}


def register(spec: Spec) -> None:
    """Remember a step or a workflow; the newest of that name in that file counts."""
    _known[spec.kind, spec.main, spec.name] = spec


def find(kind: str, module: str, name: str) -> Spec:
    """The step or the workflow (`kind`) of that name, from the file with that stem.

    Raises:
        NotFound: no script that this process has loaded defines it.
    """
    spec = _known.get((kind, module, name))
    if spec is None:
        raise NotFound(
            f"this worker knows no {kind} {name!r} of {module}.py",
            "restart it, if it runs an older version of the script; define steps at the top level of the script",
        )
    return spec


def find_step(module: str, name: str) -> Spec:
    """The step of that name, from the file with that stem.

    Raises:
        NotFound: no script that this process has loaded defines it.
    """
    return find("step", module, name)


def steps_named(name: str) -> list[Spec]:
    """The steps of that name, from whichever file."""
    return [spec for (kind, _, known), spec in _known.items() if kind == "step" and known == name]
