"""What a run has come to, as the future of its handle has it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from perdure.core.exceptions import capture, notes
from perdure.core.execution.run_refusals import cancelled
from perdure.core.execution.spec import Spec
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.engines import registry
from perdure.engines.functions import is_same_file
from perdure.errors import NotFound

if TYPE_CHECKING:
    from concurrent.futures import Future


def put_outcome(future: Future[Any], ending: Future[RunRecord], spec: Spec | None) -> None:
    """Give a future the result of a run that has ended, or its error.

    Args:
        future: where to.
        ending: the run, or why it cannot be known how it ended.
        spec: its workflow, which says of which classes the result is; None if this process may not have it.
    """
    try:
        value = _outcome(ending.result(), spec)
    except BaseException as error:  # noqa: BLE001  `Handle.result` raises it
        future.set_exception(error)
    else:
        future.set_result(value)


def _outcome(run: RunRecord, spec: Spec | None) -> Any:
    spec = spec or known_workflow(run)
    if run.status == "done":
        return value_of(run.output or b"", spec)
    raise outcome_of(run.id, run.status, run.output, spec)


def value_of(output: bytes, spec: Spec | None) -> Any:
    """What a run returned: of the classes that its workflow names, or plain data if that is not known here."""
    return codec.to_builtins(output) if spec is None else spec.plan.unpack(output)


def outcome_of(id: str, status: str, output: bytes | None, spec: Spec | None) -> Exception:
    """What is raised for a run that is not done: Cancelled, or what it failed with."""
    if status == "cancelled":
        return cancelled(id)
    error = capture.restore(capture.decode(output or b""), main="__main__" if spec is None else spec.module)
    notes.add(error, f"perdure: run {id} is {status}; see it with `perdure show {shlex.quote(id)}`")
    return error


def published_value(runs: Any, id: str, name: str) -> Any:
    """What a run has published last under a name, as plain data.

    Raises:
        NotFound: it has not published that.
    """
    from perdure.config.settings import LOCAL
    from perdure.engines.selection import records_at

    if runs.state_file is None:
        shown = runs.published(id)
        if name not in shown:
            raise _unpublished(id, name, ", ".join(sorted(shown)))
        return codec.to_builtins(shown[name][0])
    with records_at(LOCAL, runs.state_file) as store:
        from perdure.store import published

        one = published.get(store, id, name)
        if one is None:
            raise _unpublished(id, name, ", ".join(each.name for each in published.of_run(store, store.run(id).rid)))
        return codec.to_builtins(one.value)


def _unpublished(id: str, name: str, names: str) -> NotFound:
    return NotFound(
        f"run {id} has not published {name!r}",
        f"see the run with `perdure show`; it has published {names or 'nothing'}",
    )


def known_workflow(run: RunRecord) -> Spec | None:
    """The workflow of a run, if this process has defined it."""
    return next(iter(known_workflows(run.workflow, run.path)), None)


def known_workflows(name: str, path: str | None = None) -> list[Spec]:
    """The workflows of that name that this process has defined, in that file or in any; the newest first."""
    found = [each for each in registry.every("workflow") if each.name == name]
    return [each for each in reversed(found) if path is None or is_same_file(each.file, path)]
