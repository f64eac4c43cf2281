"""A schedule of a workflow, as it is written down: in a state file, or for the ticker of a cluster."""

from __future__ import annotations

import os

from perdure.config.time_zones import machine_zone
from perdure.core.declared_schedule import DeclaredSchedule
from perdure.core.execution.identity import identify
from perdure.core.execution.spec import Spec
from perdure.store.schedule_rows import Origin
from perdure.store.schedules import Declaration


def declaration_of(spec: Spec, given: DeclaredSchedule, *, script: str, origin: Origin) -> Declaration:
    """What is written down of a schedule.

    Args:
        spec: the workflow.
        given: the schedule, as code declares it.
        script: the identity of the script.
        origin: where it was declared.

    Raises:
        NotStorable: its arguments cannot be stored.
    """
    call = identify(spec, given.args, {})
    return Declaration(
        name=given.name,
        script=script,
        path=os.path.abspath(spec.file),
        workflow=spec.name,
        spec=given.spec,
        tz=given.tz or machine_zone(),
        overlap=given.overlap,
        missed=given.missed,
        within=given.within,
        spread=given.spread,
        queue=given.queue,
        key=call.key,
        input=call.input,
        origin=origin,
    )
