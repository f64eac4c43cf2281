"""The tree of a run that is gone on with after its script was edited: see core/execution/run_tree.py."""

from __future__ import annotations

from perdure.config.script_identity import source_digest
from perdure.core.execution.moved_call import TreeRun
from perdure.core.execution.recorded_inputs import InputsOfBefore
from perdure.core.execution.run_tree import RunTree
from perdure.core.execution.spec import Spec
from perdure.core.function_code import CodeRow
from perdure.core.records import RunRecord
from perdure.engines import functions, registry
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.store import code_versions
from perdure.store.runs import Store


def enter(resources: Resources, scope: LocalScope, spec: Spec) -> None:
    """The function of a run begins; if its script was edited meanwhile, what it calls is looked for elsewhere."""
    if scope.parent is None and scope.history.resumed:
        scope.tree = _tree_of(resources.store, scope.run, spec)
    if scope.tree is not None:
        scope.tree.enter(_about(scope.run), scope.history, scope.is_alone)


def _tree_of(store: Store, run: RunRecord, spec: Spec) -> RunTree | None:
    """None if the script is the one that began the run, or nothing is known of that."""
    known, workflows = code_versions.earlier(store, run.rid)
    if not known or (known == {source_digest(run.path)} and not any(map(_is_edited, workflows.values()))):
        return None
    store.add_code(functions.code_of(spec))
    edits = _Edits(store, run, known, workflows)
    family = store.family(run.rid)
    records: dict[tuple[str, bytes], list[tuple[int, int]]] = {}
    for child in family:
        if child.rid != run.rid:
            _add_completed(store, child.rid, records)
    return RunTree(_about(run), map(_about, family), records, edits.changed, edits.called, InputsOfBefore(store.record))


def _about(run: RunRecord) -> TreeRun:
    return TreeRun(run.rid, run.id, run.parent, run.workflow, run.key)


def _is_edited(row: CodeRow) -> bool:
    return row.source != source_digest(row.file)


def _add_completed(store: Store, rid: int, records: dict[tuple[str, bytes], list[tuple[int, int]]]) -> None:
    exempt = store.exempted(rid)
    for seq, name, key, _, status, kind in store.each_index(rid):
        if kind == "step" and status == "done" and not any(first <= seq <= last for first, last in exempt):
            records.setdefault((name, key), []).append((rid, seq))


class _Edits:
    """Which workflows an edit has changed.

    Args:
        store: the state file.
        run: the root of the tree.
        digests: of its script, in earlier lives.
        called: the workflows that it has called, as they were when they were called last.
    """

    def __init__(self, store: Store, run: RunRecord, digests: set[bytes], called: dict[str, CodeRow]) -> None:
        self._store = store
        self._run = run
        self._digests = digests
        self._imported = called
        self._versions: dict[str, list[CodeRow]] = {}
        self._verdicts: dict[str, bool] = {}

    def changed(self, workflow: str) -> bool:
        """Does the function of that workflow differ from one of its earlier versions? Also if it is new, or gone."""
        if workflow not in self._verdicts:
            self._verdicts[workflow] = self._differs(workflow)
        return self._verdicts[workflow]

    def called(self, workflow: str, other: str) -> bool:
        """Did the function of a workflow name another one in all earlier versions?"""
        specs = self._now(other)
        versions = self.versions(workflow)
        if not specs or not versions:
            return False
        names = {specs[-1].fn.__name__, other}
        return all(not names.isdisjoint(row.options.get("names", names)) for row in versions)

    def versions(self, workflow: str) -> list[CodeRow]:
        """Its function, in each version of the script that has executed the run."""
        if workflow not in self._versions:
            found = code_versions.of_workflow(self._store, self._digests, workflow)
            if not found and workflow in self._imported:
                found = [self._imported[workflow]]
            self._versions[workflow] = found
        return self._versions[workflow]

    def _now(self, workflow: str) -> list[Spec]:
        specs = [spec for spec in registry.every("workflow") if spec.name == workflow]
        return [spec for spec in specs if spec.file == self._run.path] or specs

    def _differs(self, workflow: str) -> bool:
        specs = self._now(workflow)
        if not specs:
            return True
        versions = self.versions(workflow)
        if not versions:
            return specs[-1].file == self._run.path  # of another file, it is not known what there was
        now = functions.code_of(specs[-1]).row
        return any(row.source != now.source and row.options.get("body") != now.options["body"] for row in versions)
