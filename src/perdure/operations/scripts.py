"""Finds workflows and steps in scripts."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

from perdure.api.step_call import BoundStep
from perdure.api.workflow import Workflow
from perdure.config.kept_command_line import CommandLine
from perdure.config.module_names import dotted_name
from perdure.config.reachable_workflows import reachable_workflows
from perdure.config.script_loader import OtherCommandLine, is_script, load_script
from perdure.config.script_reload import load_current
from perdure.core.execution.spec import Spec, spec_of
from perdure.core.records import FunctionRecord, RunRecord, StepRecord, called_step
from perdure.engines import functions
from perdure.engines.interface import refuse_child
from perdure.engines.recorded_script import recorded_script
from perdure.engines.registry import every, forget_files, steps_named
from perdure.errors import NotFound, OptionError, UsageError
from perdure.operations.location import Location, opened

AnyWorkflow = Workflow[..., Any]

_loading = Lock()


def split_target(target: str) -> tuple[Path, str | None]:
    """A file and the name of a workflow, of "orders.py:nightly"; the name may be missing, the file may have a colon."""
    path, colon, name = target.rpartition(":")
    if colon and name.replace(".", "").isidentifier() and not os.path.exists(target):
        return Path(path), name
    return Path(target), None


def find_workflow(path: Path, name: str | None = None, line: CommandLine | None = None) -> AnyWorkflow:
    """The workflow of that name in a script, or the only one there is.

    Args:
        path: the script.
        name: what the workflow goes by in the script, or in the state file.
        line: the command line of the run for which it is loaded; None: none is known.

    Raises:
        NotFound: there is no such file, or no such workflow in it.
        UsageError: there are several, and none was named.
        Exception: whatever the script raises when it is loaded.
    """
    module = _loaded(path, line)
    found = _workflows(module)
    if not found and name is None:
        raise NotFound(f"{path} has no workflow", "decorate a function at its top level with @perdure.workflow")
    if name is not None:
        named = found.get(name) or next((each for each in found.values() if spec_of(each).name == name), None)
        if named is None:  # it may have been moved into a module since
            reached = (one for one in reachable_workflows(module) if isinstance(one, Workflow))
            named = next((one for one in reached if spec_of(one).name == name), None)
        return named or _made(path, module, name, list(found))
    # What the script imports from elsewhere is not what it is about, unless there is nothing else.
    here = module.__file__ or ""
    own = {each: it for each, it in found.items() if functions.is_same_file(spec_of(it).file, here)} or found
    if len({id(spec_of(each)) for each in own.values()}) > 1:
        lines = "".join(f"\n    {_command_of(path, each, it)}" for each, it in own.items())
        raise UsageError(f"{path} has several workflows", f"name the one to run:{lines}")
    return next(iter(own.values()))


def _made(path: Path, module: ModuleType, name: str, names: list[str]) -> AnyWorkflow:
    """The workflow of that name that a factory has made in a script, where no name of the script leads to it.

    Raises:
        NotFound: there is none.
        UsageError: there are several, which nothing tells apart.
    """
    here = module.__file__ or ""
    made = [one for one in every("workflow") if one.name == name and functions.is_same_file(one.file, here)]
    if len(made) == 1:
        return Workflow(made[0])
    if made:
        raise UsageError(
            f"{path} makes {len(made)} workflows {name!r} when it is loaded, and no name at its top level leads to one",
            "give each a name of its own, @workflow(name=...), or run the script itself",
        )
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]!r}? Otherwise " if close else ""
    raise NotFound(
        f"{path} has no workflow {name!r} at its top level",
        f"{meant}name one of: {', '.join(names)}" if names else "define it there, or run the script itself",
    )


def workflow_of(run: RunRecord, location: Location, script: Path | None = None) -> AnyWorkflow:
    """The workflow that a run belongs to, loaded from its script.

    Args:
        run: which.
        location: where it is kept.
        script: where the script is now, if not where it was last seen.

    Raises:
        UsageError: it is a child run, or its script is not to be loaded unless it is named.
        NotFound: the script, or the workflow in it, is gone.
        Exception: whatever the script raises when it is loaded.
    """
    refuse_child(run.id, run.parent)
    path = script or recorded_script(run, location.state_file)
    if not is_script(path):
        raise NotFound(
            f"the script of run {run.id} does not exist: {path}",
            f"name where it is now: perdure resume {shlex.quote(run.id)} FILE",
        )
    return find_workflow(path, run.workflow, command_line_of(run, location))


def command_line_of(run: RunRecord, location: Location) -> CommandLine | None:
    """The command line for which the script of a run is loaded; None if it was given nothing, or that is not known.

    Raises:
        StateError: the state file cannot be read.
    """
    if location.state_file is None or not location.path.is_file():
        return None
    with opened(location) as store:
        return store.command_line(run)


def _loaded(path: Path, line: CommandLine | None) -> ModuleType:
    """A script for a run of that command line; loaded anew if it was loaded for a run of another one, and has read it.

    Raises:
        As `load_script` does.
    """
    try:
        return load_script(path, line=line)
    except OtherCommandLine:
        return load_current(path, forget_files, line=line, anew=True)


def _workflows(module: ModuleType) -> dict[str, AnyWorkflow]:
    """By name; one in a class of the script is `Class.name`, and is reached as calls reach it."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Workflow)}
    for owner, value in list(vars(module).items()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            for name, member in vars(value).items():
                inner = member.__func__ if isinstance(member, staticmethod | classmethod) else member
                if isinstance(inner, Workflow):
                    found[f"{owner}.{name}"] = inner
    return found


def _command_of(path: Path, name: str, workflow: AnyWorkflow) -> str:
    """The command that runs a workflow of a script, and what the workflow is for."""
    lines = (workflow.__doc__ or "").strip().splitlines()
    command = f"perdure run {shlex.quote(f'{path}:{name}')}"
    return f"{command}    {lines[0]}" if lines else command


def step_of(
    run: RunRecord,
    record: StepRecord,
    location: Location,
    function: FunctionRecord | None = None,
    script: Path | None = None,
) -> Spec:
    """The step that a record is of, as the script of its run has it now.

    Args:
        run: whose script it is.
        record: of a step, or of a clean-up.
        location: where the run is kept.
        function: whose function it was, if the run says so.
        script: where the script is now, if not where it was last seen; or the file that the step was moved to.

    Raises:
        NotFound: the script is gone, or has no such step at its top level.
        UsageError: several steps go by that name, or the script is not to be loaded unless it is named.
        Exception: whatever the script raises when it is loaded.
    """
    path = script or recorded_script(run, location.state_file)
    if not is_script(path):
        raise NotFound(f"the script of run {run.id} does not exist: {path}", "name where it is now: --script FILE")
    with _loading:  # two threads must not load one script side by side
        module = _loaded(path, command_line_of(run, location))
    if function is not None:
        return functions.find(
            function, module.__file__ or "", record.input, meant=None if script is None else str(path)
        )
    name = called_step(record.kind, record.name)
    own = {id(spec_of(each)): spec_of(each) for each in vars(module).values() if isinstance(each, BoundStep)}
    known = steps_named(name)
    for found in (
        [spec for spec in known if functions.is_same_file(spec.file, module.__file__ or "")],
        [spec for spec in own.values() if spec.name == name],
        known,
    ):
        if len({(spec.place, spec.file) for spec in found}) == 1:
            return found[-1]
    if known:
        files = ", ".join(sorted(spec.file for spec in known))
        raise UsageError(f"several files define a step {name!r}: {files}", "name the right one: --script FILE")
    names = sorted({spec.name for spec in own.values()})
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you rename it to {close[0]!r}? Then " if close else ""
    raise NotFound(
        f"{path} has no step {name!r} at its top level", f"{meant}give it its old name: @step(name={name!r})"
    )


def load_scripts(scripts: Sequence[Path]) -> list[str]:
    """Load scripts for a worker; returns the names of their modules, by which a cluster knows them.

    Raises:
        OptionError: two of them have one name.
        NotFound: there is no such file.
        Exception: whatever a script raises when it is loaded.
    """
    names = [dotted_name(str(path))[0] for path in scripts]
    for path, name in zip(scripts, names, strict=True):
        if names.count(name) > 1:
            raise OptionError(
                f"two scripts are called {name}, and a cluster knows scripts by that name", "rename one of them"
            )
        load_script(path)
    return names
