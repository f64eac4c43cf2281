"""What the workflows that a process has loaded declare, written to the state file."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from perdure.config.module_names import INTERACTIVE
from perdure.config.script_identity import script_identity
from perdure.core.declared_schedule import DeclaredSchedule
from perdure.core.execution.spec import Spec
from perdure.engines.schedule_declarations import declaration_of
from perdure.errors import OptionError
from perdure.store import schedules
from perdure.store.runs import Store
from perdure.store.schedule_rows import Origin, Schedule


def declare(store: Store, spec: Spec, given: DeclaredSchedule, now: float, *, origin: Origin = "call") -> Schedule:
    """Write one schedule of a workflow.

    Raises:
        OptionError: no worker can load the workflow, or its zone is not known here.
        NotStorable: its arguments cannot be stored.
        StateError: the file cannot be used.
    """
    script = script_identity(spec.file, store.path)
    if script == INTERACTIVE:
        raise OptionError(
            f"{spec.owner} is scheduled, and is not in a file that a worker could load", "write it into a script"
        )
    row = declaration_of(spec, given, script=script, origin=origin)
    return schedules.declare(store, row, now)


def declare_loaded(store: Store, specs: Iterable[Spec], now: float, scripts: Collection[str] = ()) -> list[Schedule]:
    """A worker has loaded these workflows: write their schedules, and which ones their scripts no longer have.

    Args:
        store: the state file.
        specs: every workflow that was loaded.
        now: seconds since the epoch.
        scripts: the paths of scripts that were loaded to their end, also of those that have no workflow any more.

    Returns:
        The schedules that they declare.

    Raises:
        OptionError, NotStorable: one cannot be declared; the others are.
        StateError: the file cannot be used.
    """
    rows: list[Schedule] = []
    wrong: list[Exception] = []
    names: dict[str, set[str]] = {script_identity(path, store.path): set() for path in scripts}
    for spec in specs:
        declared = names.setdefault(script_identity(spec.file, store.path), set())
        for given in spec.schedules:
            declared.add(given.name)
            try:
                rows.append(declare(store, spec, given, now, origin="script"))
            except (OptionError, TypeError) as error:  # NotStorable is a TypeError
                wrong.append(error)
    for script, kept in names.items():
        schedules.undeclare(store, script, kept, now)
    if wrong:
        raise wrong[0]
    return rows
