"""What is wrong with a run, with the records that show it: `perdure diagnose`."""

from __future__ import annotations

import time

import msgspec

from perdure.core.commands import located
from perdure.core.records import RunRecord
from perdure.engines.features import Feature
from perdure.engines.selection import capabilities_at
from perdure.operations.diagnose_facts import RunFacts
from perdure.operations.diagnose_finding import Finding
from perdure.operations.diagnose_run import find
from perdure.operations.location import Location
from perdure.operations.run_views import Standing
from perdure.store.runs import Store


class Diagnosis(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        run: the run.
        status: how it stands.
        findings: the surest first; empty if the records show nothing.
        not_seen: what cannot be seen in the records of a run.
    """

    run: str
    workflow: str
    status: Standing
    findings: list[Finding]
    not_seen: list[str]


def diagnose(store: Store, run: RunRecord, location: Location) -> Diagnosis:
    """Look through the records of a run.

    Args:
        store: the state file, or the records of a cluster.
        run: which.
        location: where it was found.

    Raises:
        StateError: the file cannot be read.
    """
    facts = facts_of(store, run, time.time(), location)
    found = [_here(one, location) for one in find(facts)]
    return Diagnosis(run.id, run.workflow, facts.status, found, _not_seen(facts, location))


def facts_of(store: Store, run: RunRecord, now: float, location: Location) -> RunFacts:
    """What is known of a run that was found there; `now` is seconds since the epoch."""
    numbered, alone = location.supports(Feature.LETTER_NUMBERS), location.supports(Feature.PROCESSES)
    return RunFacts(store, run, now, numbered=numbered, one_clock=alone)


_NEEDS = {
    "perdure fork": Feature.FORK,
    "perdure dlq redrive": Feature.CHANGE_DEAD_LETTERS,
    "perdure dlq edit": Feature.CHANGE_DEAD_LETTERS,
    "perdure dlq drop": Feature.CHANGE_DEAD_LETTERS,
    "perdure doctor": Feature.STATE_FILE,
}
"""What an engine must have for a command."""


def _here(one: Finding, location: Location) -> Finding:
    """The finding, with commands that find these runs, and only those that there are for them."""
    missing = [command for command, feature in _NEEDS.items() if not location.supports(feature)]
    commands = [command for command in one.commands if not command.startswith(tuple(missing))]
    fix = one.fix
    lacking = [command for command in missing if f"`{command}" in fix]
    if lacking:
        names = ", ".join(f"`{command}`" for command in lacking)
        fix += f"\n(On a cluster there is no {names}.)"
    return msgspec.structs.replace(
        one,
        commands=[located(command, location.option) for command in commands],
        fix=located(fix, location.option),
    )


def _not_seen(facts: RunFacts, location: Location) -> list[str]:
    """What a diagnosis of this run does not know."""
    missed = ["what a step did besides what it returned", "exceptions that the script caught and passed over"]
    if not location.supports(Feature.PROCESSES):
        missed.append("the processes of a cluster")
    elif facts.process is not None and facts.process.cause == "unseen":
        missed.append("how the process died: with an alert target a watchdog records it")
    if not location.supports(Feature.EXECUTIONS):
        missed.append(capabilities_at(location.engine).reason(Feature.EXECUTIONS))
    return missed
