"""What an executor has loaded: the workflows of its scripts, and the files that they are made of."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import sysconfig
import time
import traceback
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from perdure.alerts.recipients import addresses
from perdure.config import command_line
from perdure.config.edit_times import edited_after
from perdure.config.kept_command_line import CommandLine
from perdure.config.reachable_workflows import reachable_workflows
from perdure.config.script_identity import script_identity
from perdure.config.script_loader import load_script, looks_at_command_line
from perdure.core.execution.recorded_call import recorded_call
from perdure.core.execution.spec import OWN_LOCK, Call, Spec, spec_of
from perdure.core.records import RunRecord
from perdure.core.redaction.printable import one_line
from perdure.core.values import codec
from perdure.engines.local.worker.messages import Broken, Found
from perdure.engines.registry import every
from perdure.errors import PerdureError
from perdure.store.claims import Offer

OF_WAKES = (
    *("perdure.api.durable_wait", "perdure.core.execution.moved_call", "perdure.core.redaction.text"),
    *("perdure.engines.local.child_runs", "perdure.engines.local.named_calls", "perdure.engines.local.parking"),
    *("perdure.engines.local.run_trees", "perdure.engines.runtime.ctrl_c"),
    *("perdure.engines.runtime.command", "perdure.store.lineage", "perdure.store.stop_notes", "perdure.store.workers"),
)
"""What a run loads that waits, is left and goes on: the first one that is woken goes on as soon as later ones."""


def load_ahead() -> None:
    """Load what the first run that is woken would load."""
    for each in OF_WAKES:
        importlib.import_module(each)


class Program:
    """The scripts, loaded once: an edited script is another process's.

    Args:
        state: the state file.
        scripts: the paths of scripts.
        modules: the names of modules, looked for in `folder` first.
        folder: a folder.
        line: the command line that they see; None: none.

    `looks`: whether any of them has looked for arguments as it was loaded. `broken` are those that cannot be loaded;
    `homes` are the others, by their identities, and the workflows that they have, each with its script. `several` are
    those of which a factory has made several of one name, which nothing tells apart.
    """

    def __init__(
        self, state: Path, scripts: Sequence[str], modules: Sequence[str], folder: str, line: CommandLine | None
    ) -> None:
        self._state = state
        self._line = line
        self.looks = False
        self._began = time.time_ns()
        self._digests: dict[str, str] = {}
        self._modules = 0
        self._loaded: list[ModuleType] = []
        self.broken: list[Broken] = []
        if modules:
            sys.path.insert(0, folder)
        for path in scripts:
            self._load(path)
        for name in modules:
            self._load(name, module=True)
        broken = {os.path.realpath(one.path) for one in self.broken}  # also of what they define above their error
        known = [((script_identity(spec.file, state), spec.name), spec) for spec in every("workflow")]
        whole = [(key, spec) for key, spec in known if os.path.realpath(spec.file) not in broken]
        # Of what a factory or a decorator has made: what a name of a script leads to, or the only one of its name.
        named = {id(spec_of(one)) for module in self._loaded for one in reachable_workflows(module)}
        self._specs = {key: spec for key, spec in whole if not spec.signature.is_remade or id(spec) in named}
        made = Counter(key for key, _ in whole)
        self._specs |= {key: spec for key, spec in whole if key not in self._specs and made[key] == 1}
        self._imported = self._imported_workflows(broken)
        self.several = made.keys() - self._specs.keys() - self._imported.keys()
        loaded = {script_identity(os.path.abspath(path), state) for path in scripts} | {key[0] for key, _ in known}
        self.homes = (loaded - {one.script for one in self.broken}, {*self._specs, *self._imported})
        self._readers: dict[Spec, codec.InputReader] = {}
        self.files()

    def _load(self, place: str, *, module: bool = False) -> None:
        if not module:  # what is executed is this, or was written since
            self._digests.setdefault(os.path.realpath(place), digest_of(place))
        try:
            if module:
                with command_line.loading(place, self._line) as reads:
                    self._loaded.append(importlib.import_module(place))
                self.looks = self.looks or bool(reads.line)
            else:
                self._loaded.append(load_script(place, line=self._line))
                self.looks = self.looks or looks_at_command_line(place)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the script's own, which the others do not suffer from
            path = _file_of(place) if module else os.path.abspath(place)
            what = error.what if isinstance(error, PerdureError) else f"{type(error).__name__}: {error}"
            why = one_line(what.partition("\n")[0])
            text = "".join(traceback.format_exception(error))
            digest = self._digests.get(os.path.realpath(path)) or self._executed(path)
            self.broken.append(Broken(path, script_identity(path, self._state), why, text, digest))
            for file in _files_of(error):  # that may be why, and are not among the modules
                self._digests.setdefault(os.path.realpath(file), self._executed(file))

    def _executed(self, path: str) -> str:
        """The digest of what was executed of a file; empty if that may have been something else than is there now."""
        return "" if edited_after(path, self._began) else digest_of(path)

    def _imported_workflows(self, broken: Collection[str]) -> dict[tuple[str, str], tuple[str, Spec]]:
        """What the scripts have imported: of a workflow that was moved into a module, the runs are still theirs.

        By the script and the name, with the path of the script.
        """
        found: dict[tuple[str, str], tuple[str, Spec]] = {}
        for module in self._loaded:
            path = os.path.abspath(getattr(module, "__file__", None) or "")
            script = script_identity(path, self._state)
            for spec in map(spec_of, reachable_workflows(module)):
                if os.path.realpath(spec.file) not in broken and (script, spec.name) not in self._specs:
                    found[script, spec.name] = path, spec
        return found

    @property
    def workflows(self) -> list[Spec]:
        """What can be executed."""
        return list(self._specs.values())

    @property
    def served(self) -> Mapping[tuple[str, str], Offer]:
        """What is claimed: by the identity of the script and the name of the workflow."""
        own = {key: Offer(_path(spec), self._lock(spec)) for key, spec in self._specs.items()}
        return own | {key: Offer(path, self._lock(spec)) for key, (path, spec) in self._imported.items()}

    def spec(self, script: str, workflow: str) -> Spec:
        """The workflow of that name, which the script defines or has imported."""
        own = self._specs.get((script, workflow))
        return own if own is not None else self._imported[script, workflow][1]

    def call(self, run: RunRecord) -> Call:
        """What a run calls. The annotations are looked at once: all that they name is loaded.

        Raises:
            OtherInputs: the workflow does not take the inputs of the run any more.
            NotDecodable: its parameters are not annotated with the classes of the recorded inputs.
        """
        spec = self.spec(run.script, run.workflow)
        reader = self._readers.get(spec)
        if reader is None:
            reader = self._readers[spec] = spec.input_reader()
        return recorded_call(spec, run, reader)

    def found(self) -> list[Found]:
        """The workflows, as the supervisor needs to know them."""
        return [
            Found(script, name, _path(spec), list(addresses(spec.rules.alerts, spec.file)), self._lock(spec))
            for (script, name), spec in self._specs.items()
        ] + [
            Found(script, name, path, list(addresses(spec.rules.alerts, spec.file)), self._lock(spec), imported=True)
            for (script, name), (path, spec) in self._imported.items()
        ]

    def files(self) -> dict[str, str] | None:
        """The files that were loaded, with the digest of each; None if there are no more than at the last time.

        A digest is empty if the file may have been edited after it was loaded.
        """
        modules = list(sys.modules.values())
        if len(modules) == self._modules:
            return None
        self._modules = len(modules)
        for module in modules:
            name = getattr(module, "__name__", "")
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.endswith(".py") and name.partition(".")[0] != "perdure":
                path = os.path.realpath(file)
                if path not in self._digests and _is_own(path):
                    self._digests[path] = self._executed(path)
        for one in self.broken:
            self._digests.setdefault(one.path, one.digest)
        return dict(self._digests)

    def all_files(self) -> dict[str, str]:
        """All files that were loaded so far, with the digest of each, as `files` has them."""
        self.files()
        return dict(self._digests)

    def version(self) -> str:
        """A text that changes with each edit of any of the files."""
        lines = "\n".join(f"{path} {digest}" for path, digest in sorted(self._digests.items()))
        return hashlib.blake2b(lines.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()

    def _lock(self, spec: Spec) -> str | None:
        if spec.rules.lock == OWN_LOCK:
            return f"{script_identity(spec.file, self._state)}:{spec.name}"
        return spec.rules.lock


def digest_of(path: str) -> str:
    """The digest of a file's content; of one that is gone, another."""
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return "gone"


def _path(spec: Spec) -> str:
    return os.path.abspath(spec.file)


_PERDURE = f"{Path(__file__).parents[3]}{os.sep}"


def _files_of(error: BaseException) -> list[str]:
    """The user's files that an error came through, and that of which the syntax is wrong."""
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    if error.__cause__ is not None:
        files.update(_files_of(error.__cause__))
    return [file for file in files if os.path.isfile(file) and not file.startswith(_PERDURE) and _is_own(file)]


_INSTALLED = tuple(
    os.path.realpath(place) + os.sep
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (place := sysconfig.get_path(name))
)


def _is_own(path: str) -> bool:
    """Is it a file of the user's, rather than one that was installed?"""
    return not path.startswith(_INSTALLED)


def _file_of(module: str) -> str:
    """Where a module that could not be loaded is, as far as that can be found."""
    from importlib.util import find_spec

    try:
        found = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        found = None
    return os.path.abspath(found.origin) if found is not None and found.origin else module
