"""Whose function a run calls under a name: as it is written down, and found again."""

from __future__ import annotations

import os
import shlex
from typing import Any
from weakref import WeakKeyDictionary

from perdure.config.script_identity import source_digest, whole_path
from perdure.core.callables import unwrap
from perdure.core.execution.identity import identify, identify_stored
from perdure.core.execution.spec import Call, Spec
from perdure.core.function_code import Code, CodeRow
from perdure.core.records import CALLED, ENDED, ENQUEUED, OWN_MODULE, FunctionRecord, StepKind, called_step
from perdure.core.values import codec
from perdure.engines import registry
from perdure.engines.workflow_code import body_of
from perdure.errors import NotFound, UsageError


def _stands_for(what: str, workflow: str) -> Spec:
    """The step that stands, in the records of a run, for beginning runs of that workflow: `ENQUEUED` or `CALLED`."""
    name = what + workflow
    found = _standing.get(name)
    if found is None:
        found = Spec("step", _begin, name)
        found.record_kind = "builtin"
        _standing[name] = found
    return found


def queueing_call(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None) -> Call:
    """The call that stands for putting a run into a queue: its inputs are those of the workflow; its argument, too.

    Raises:
        NotStorable: the arguments cannot be stored.
    """
    spec.refuse_unstorable()
    asked = identify_stored(spec, args, kwargs)
    key = codec.digest(b"enqueue\0" + asked.key + (id or "").encode())
    return Call(_stands_for(ENQUEUED, spec.name), (asked,), {}, asked.input, key)


def known_by_id(call: Call, id: str | None) -> Call:
    """The same call, whose inputs say the id that the run is given: another one is another call."""
    if id is not None:
        call.input = codec.with_keyword(call.input, "id", id)
    return call


def named_call(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], id: str) -> Call:
    """The call that stands for the end of a run that a workflow calls under an id.

    Its arguments are the call that stands for its beginning, the one of the workflow, and the id.

    Raises:
        TypeError: the function would not accept these arguments.
        NotStorable: the arguments cannot be stored.
    """
    asked = identify(spec, args, kwargs)
    key, given = codec.digest(b"call\0" + asked.key + id.encode()), codec.with_keyword(asked.input, "id", id)
    ended = _ended.get(spec)
    if ended is None:
        import copy

        ended = _ended[spec] = copy.copy(spec)
        ended.name, ended.record_kind = ENDED + spec.name, "builtin"
    return Call(ended, (Call(_stands_for(CALLED, spec.name), (asked,), {}, given, key), asked, id), {}, given, key)


def _begin(call: Call) -> str:
    """Its value is the id of the run."""
    raise NotImplementedError("it is carried out beside its record")


_standing: dict[str, Spec] = {}
_ended: WeakKeyDictionary[Spec, Spec] = WeakKeyDictionary()


_codes: WeakKeyDictionary[Spec, Code] = WeakKeyDictionary()


def code_of(spec: Spec) -> Code:
    """What is written down of a function, once for each version of its file."""
    found = _codes.get(spec)
    if found is None:
        code = getattr(unwrap(spec.fn), "__code__", None)
        row = CodeRow(
            spec.module,
            spec.qualname,
            spec.file,
            code.co_firstlineno if code is not None else 0,
            spec.signature.parameters,
            _options(spec),
            source_digest(spec.file),
        )
        found = _codes[spec] = Code(row, row.digest())
    return found


def _options(spec: Spec) -> dict[str, Any]:
    """The options that are not as usual; times in seconds."""
    retry, guard = spec.retry, spec.guard
    found: dict[str, Any] = {"kind": spec.kind, "name": spec.name}
    if spec.kind == "step":
        found["attempts"] = retry.attempts
    else:
        found |= body_of(spec.fn)
    said = {
        "timeout": spec.timeout if spec.explicit else spec.rules.timeout,
        "isolate": (spec.isolate and spec.workers is None) or None,
        "key": spec.key is not None or None,
        "undo": spec.undo.name if spec.undo is not None else None,
        "breaker": guard.service if guard is not None and guard.breaker is not None else None,
        "rate": guard.rate.text if guard is not None and guard.rate is not None else None,
        "max_repeats": spec.max_repeats,
        "lock": spec.rules.lock,
        "queue": spec.rules.queue,
    }
    return found | {name: value for name, value in said.items() if value is not None}


def add_workflows(store: Any, script: str) -> None:
    """Write down the workflows of a script, called or not: a later version of it is compared with this one."""
    store.described.add(script)
    for spec in registry.every("workflow"):
        if spec.file == script:
            store.add_code(code_of(spec))


def record_of(
    spec: Spec, kind: StepKind, name: str, script: str, code: bytes | None = None, defaults: bytes | None = None
) -> FunctionRecord:
    """What a run of a script writes down of a function. Its own module may be renamed, and goes without a name."""
    file = whole_path(spec.file)
    module = OWN_MODULE if file == script else spec.module
    folder = os.path.dirname(script)
    if file.startswith(folder + os.sep):
        file = file[len(folder) + 1 :] if folder else os.path.relpath(file, folder)
    return FunctionRecord(kind, name, module, spec.qualname, file, code=code, defaults=defaults)


def find(record: FunctionRecord, script: str, given: bytes, *, meant: str | None = None) -> Spec:
    """The step that a record says, as this process has it.

    Args:
        record: what the run has written down.
        script: where the script of the run is now.
        given: the packed inputs of the call.
        meant: a file that the user has named: a step of that name in it is meant, wherever it was before.

    Raises:
        NotFound: it is not in its module any more.
        UsageError: another file of that module's name is loaded.
    """
    known = [spec for spec in registry.steps_named(called_step(record.kind, record.name)) if spec.accepts(given)]
    own = record.module == OWN_MODULE
    there = [each for each in known if (is_same_file(each.file, script) if own else each.module == record.module)]
    found = [each for each in there if each.qualname == record.qualname]
    if not found and len({each.qualname for each in there}) == 1:
        found = there  # the function was renamed, and the step kept its name
    if not found and meant is not None:
        found = [each for each in known if is_same_file(each.file, meant)]
    if not found or len({each.place for each in found}) > 1:
        raise _not_found(record, script, known)
    spec = found[-1]
    before = os.path.join(os.path.dirname(script), record.file)
    if not own and meant is None and os.path.isfile(before) and not is_same_file(before, spec.file):
        raise UsageError(
            f"module {record.module} is loaded from {spec.file}, and that of the run is {before}",
            "give one command for the runs of each script",
        )
    return spec


def is_same_file(one: str, other: str) -> bool:
    """Are these two paths of one file?"""
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def _not_found(record: FunctionRecord, script: str, known: list[Spec]) -> NotFound:
    name = called_step(record.kind, record.name)
    where = os.path.basename(script) if record.module == OWN_MODULE else f"module {record.module}"
    files = sorted({spec.file for spec in known})
    if record.module == OWN_MODULE and not any(
        is_same_file(spec.file, script) for kind in ("step", "workflow") for spec in registry.every(kind)
    ):
        return NotFound(
            f"{script}, which is to have step {name!r}, is not loaded",
            "name the file that defines it: --script FILE",
        )
    if not files:
        return NotFound(
            f"{where} has no step {name!r}",
            f"give it its old name: @step(name={name!r}); or name the file that defines it: --script FILE",
        )
    return NotFound(
        f"the call was of step {name!r} of {where}, which has none now; {', '.join(files)} has a step of that name",
        f"name the file if that is the same function: --script {shlex.quote(files[0])}",
    )
