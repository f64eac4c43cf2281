"""Every step and workflow that this process has defined, by what another process calls it.

A worker is asked for "step charge of shop.tasks" and looks here: among what its scripts have defined, and nowhere else.
Stored data can name an entry of this table, never a piece of code.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from perdure.core.execution.spec import Spec
from perdure.core.records import RESERVED, Place
from perdure.errors import NotFound

MOST = 1_000
"""Functions of one name and one module that are remembered: what a factory makes in a loop is not kept for ever."""

own: list[Callable[[], None]] = []
"""What defines all of perdure's own steps: a process that has not used one of them has not defined it."""
_known: dict[tuple[str, str], list[Spec]] = {}


def register(spec: Spec) -> None:
    """Remember a step or a workflow; the newest one of a function's definition counts."""
    known = _known.setdefault((spec.kind, spec.name), [])
    if not spec.signature.is_remade:
        known[:] = [one for one in known if (one.place, one.file) != (spec.place, spec.file)]
    elif len(known) >= MOST:
        del known[0]
    known.append(spec)


def forget(spec: Spec) -> None:
    """Take a step or a workflow out of the table."""
    _known.get((spec.kind, spec.name), []).remove(spec)


def forget_files(files: frozenset[str]) -> Callable[[], None]:
    """Take out what these files have defined; what is returned brings back everything that was there before."""
    before = {key: list(known) for key, known in _known.items()}
    for known in _known.values():
        known[:] = [one for one in known if os.path.realpath(one.file) not in files]

    def bring_back() -> None:
        _known.clear()
        _known.update(before)

    return bring_back


def steps_named(name: str) -> list[Spec]:
    """The steps of that name, from whichever module; the newest last."""
    return list(_known.get(("step", name), ()))


def is_known(name: str, *kinds: str) -> bool:
    """Is there a step or a workflow of that name, or only one of these kinds, from whichever module?"""
    return any(_known.get((kind, name)) for kind in kinds or ("step", "workflow"))


def every(kind: str) -> list[Spec]:
    """All that are known of that kind."""
    return [spec for (known, _), specs in _known.items() if known == kind for spec in specs]


def find(kind: str, place: Place, name: str, given: bytes = b"") -> Spec:
    """The step or the workflow (`kind`) of that name that is defined there.

    Args:
        kind: "step" or "workflow".
        place: its module and qualified name; without a qualified name, as older records have it, the last part of the
            module's name is enough.
        name: its name.
        given: the packed inputs of the call, which tell closures apart.

    Raises:
        NotFound: no script that this process has loaded defines it.
    """
    if name.startswith(RESERVED) and (kind, name) not in _known:
        for define in own:
            define()
    known = [spec for spec in _known.get((kind, name), ()) if spec.accepts(given)]
    found = [spec for spec in known if spec.place == place]
    if not found:  # the function was renamed, and the step kept its name
        found = [spec for spec in known if spec.module == place.module]
        found = found if len({spec.place for spec in found}) == 1 else []
    if not found and not place.qualname:
        found = [spec for spec in known if spec.module.rpartition(".")[2] == place.module]
        found = found if len({spec.place for spec in found}) == 1 else []
    if not found:
        elsewhere = ", ".join(sorted({spec.module for spec in known} - {place.module}))
        hint = "restart it, if it runs an older version of the script; define steps at the top level of the script"
        if elsewhere:
            hint = f"move it back to that module; there is one of that name in {elsewhere}"
        raise NotFound(f"no {kind} {name!r} of module {place.module} is loaded", hint)
    return found[-1]


def find_step(place: Place, name: str, given: bytes = b"") -> Spec:
    """The step of that name that is defined there.

    Raises:
        NotFound: no script that this process has loaded defines it.
    """
    return find("step", place, name, given)
