"""What is wrong with a run, with the records that show it: `perdure diagnose`."""

from __future__ import annotations

import time

import msgspec

from perdure.core.commands import located
from perdure.core.records import RunRecord
from perdure.engines.features import Feature
from perdure.operations.findings import Finding, find
from perdure.operations.location import Location
from perdure.operations.ps import Standing
from perdure.operations.run_facts import RunFacts
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
    facts = RunFacts(store, run, time.time())
    found = [
        msgspec.structs.replace(one, commands=[located(command, location.option) for command in one.commands])
        for one in find(facts)
    ]
    return Diagnosis(run.id, run.workflow, facts.status, found, _not_seen(facts, location))


def _not_seen(facts: RunFacts, location: Location) -> list[str]:
    """What a diagnosis of this run does not know."""
    missed = ["what a step did besides what it returned", "exceptions that the script caught and passed over"]
    if not location.supports(Feature.PROCESSES):
        missed.append("the processes of a cluster, and in how many lives a call was executed")
    elif facts.process is not None and facts.process.cause == "unseen":
        missed.append("how the process died: with an alert target a watchdog records it")
    return missed
