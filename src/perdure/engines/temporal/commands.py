"""Hands steps and child runs to Temporal, from inside its workflow: what is asked of it, and what it answers."""

from __future__ import annotations

import asyncio
import textwrap
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, ChildWorkflowError, TerminatedError

from perdure.core.exceptions import capture, notes
from perdure.core.execution.call_end import Failed
from perdure.core.execution.effects import Outcome
from perdure.core.execution.run import Ended
from perdure.core.execution.run_refusals import cancelled
from perdure.core.execution.spec import Call, Spec
from perdure.core.policies.retry import Retry
from perdure.core.records import CLEAN_UPS, RESERVED, StepKind
from perdure.engines.temporal.encryption import blinded
from perdure.engines.temporal.nondeterminism import explain
from perdure.engines.temporal.payloads import (
    Carry,
    Portion,
    Ran,
    RunCommand,
    RunFailed,
    RunMemo,
    StepCommand,
    decode,
    encode,
)
from perdure.errors import Drift, PerdureError, RunError, StopRun

GRACE = 30.0
"""Seconds that a worker gets to report a timeout itself, before Temporal does."""
UNBOUNDED = 365 * 24 * 3600.0
"""Seconds: Temporal wants a bound where the step has none."""
MEMO = "perdure"
RAISED = "perdure: raised on a worker:"
RECALL = "perdure.recall"


def activity_id(name: str, key: bytes, n: int, blind: bytes = b"") -> str:
    """What Temporal knows a call by. Other inputs give another id: so a run does not replay onto an edited script."""
    return f"{name}:{blinded(blind, key).hex()[:16]}:{n}"


def retry_policy(retry: Retry) -> RetryPolicy:
    """Temporal's form of a step's policy.

    It bounds no attempts, since Temporal counts those whose worker died too: the worker says when to stop, and how long
    to wait if that is not the policy's own number.
    """
    first = max(retry.delay, 0.001)
    return RetryPolicy(
        initial_interval=timedelta(seconds=first),
        backoff_coefficient=retry.factor,
        maximum_interval=timedelta(seconds=max(retry.cap, first)),
    )


def activity_type(kind: StepKind, name: str) -> str:
    """What Temporal calls it. A clean-up is never called as a user's step is, since those are not named so."""
    return RESERVED + name if kind in CLEAN_UPS else name


async def carry_step(command: StepCommand, spec: Spec, blind: bytes = b"") -> Ran:
    """One call of a step, on whichever worker takes it: how it ended; `blind` is the secret of the run."""
    bound = UNBOUNDED if spec.timeout is None else spec.timeout + GRACE
    if command.until is not None:
        bound = min(bound, max(command.until - workflow.time(), 0.0) + GRACE)
    try:
        answer = await workflow.execute_activity(
            activity_type(command.kind, command.name),
            encode(command),
            activity_id=activity_id(command.name, command.key, command.n, blind),
            result_type=bytes,
            start_to_close_timeout=timedelta(seconds=bound),
            heartbeat_timeout=timedelta(seconds=command.dead_after),
            retry_policy=retry_policy(spec.retry),
            # What is broken off is over before the run cleans up what it uses.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    except ActivityError as failed:
        cause = failed.cause
        if isinstance(cause, CancelledError):
            raise asyncio.CancelledError from None
        if isinstance(cause, ApplicationError) and cause.details and type(cause.details[0]) is bytes:
            return decode(cause.details[0], Ran)
        error = RunError(
            f"the cluster could not execute {spec.owner}: {cause or failed}", "see the logs of the workers"
        )
        now = workflow.time()
        return Ran(False, capture.encode(capture.to_fault(error)), 1, now, 0.0)
    return decode(answer, Ran)


def outcome_of(ran: Ran, spec: Spec) -> Outcome:
    """The same as the core takes it."""
    if ran.ok:
        return Outcome(None, None, ran.started, ran.seconds, ran.attempts, ran.packed)
    error = _raised(ran.packed, spec)
    return Outcome(None, error, ran.started, ran.seconds, ran.attempts, program=ran.program)


def _raised(packed: bytes, spec: Spec) -> Exception:
    """The recorded exception. Its frames are on another machine, so they come as a note, once."""
    fault = capture.decode(packed)
    error = capture.restore(fault, main=spec.module)
    raised = any(note.startswith(RAISED) for note in fault.notes)
    if fault.traceback and not raised and not isinstance(error, PerdureError):
        notes.add(error, f"{RAISED}\n{textwrap.indent(fault.traceback.rstrip(), '  ')}")
    return error


async def recall(command: RunCommand, carry: Carry, first: int) -> Portion:
    """The records of an earlier execution, beginning with number `first`; not all of them at once."""
    answer = await workflow.execute_activity(
        RECALL,
        args=[workflow.info().workflow_id, first, encode(carry)],
        result_type=bytes,
        start_to_close_timeout=timedelta(minutes=5),
        heartbeat_timeout=timedelta(seconds=max(command.dead_after, 30)),
    )
    return decode(answer, Portion)


async def carry_child(command: RunCommand, call: Call) -> Ended | Failed:
    """A child run, from its start or resumption to its end."""
    spec = call.spec
    started = workflow.time()
    try:
        payload = await workflow.execute_child_workflow(
            command.name,
            encode(command),
            id=command.id,
            result_type=bytes,
            task_timeout=task_timeout(command.dead_after),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo={MEMO: encode(memo_of(command))},
        )
    except ChildWorkflowError as failed:
        if isinstance(failed.cause, CancelledError):
            error: Exception = cancelled(command.id)
        else:
            error = failure_of(failed.cause, command.id, spec)
        return Failed(error, Outcome(None, error, started, workflow.time() - started), 1)
    return Ended(spec.plan.unpack(payload), payload, started, workflow.time() - started)


def failure_of(cause: BaseException | None, id: str, spec: Spec) -> Exception:
    """What a run failed with, as Temporal has it.

    Raises:
        StopRun: perdure stopped it, or its script was edited while it was under way.
    """
    if isinstance(cause, ApplicationError) and cause.details and type(cause.details[0]) is bytes:
        failed = decode(cause.details[0], RunFailed)
        error = _raised(failed.fault, spec)
        if failed.stopped and isinstance(error, PerdureError):
            raise StopRun(error)
        return error
    error = ended_by_cluster(cause, id)
    if isinstance(error, Drift):
        raise StopRun(error)
    return error


def ended_by_cluster(cause: BaseException | None, id: str) -> PerdureError:
    """The error for a run that has not ended by itself."""
    if isinstance(cause, ApplicationError) and (cause.type == "NondeterminismError" or "TMPRL1100" in str(cause)):
        return drifted(id, str(cause))
    if isinstance(cause, TerminatedError):
        return RunError(f"run {id} was terminated", "run it again: it goes on where it stopped")
    return RunError(f"run {id} was ended by the cluster: {cause}", "run it again: it goes on where it stopped")


def drifted(id: str, message: str) -> Drift:
    """The error for a run that was under way while its script was edited, with what Temporal says of it."""
    return Drift(
        f"the script was edited while run {id} was under way, and does not fit it\n    {explain(message)}",
        "run it again: completed steps keep their results, and what the edited script adds is executed;\n"
        "    next time, `perdure check --engine URL FILE` shows what would break before a worker runs the new script",
    )


def memo_of(command: RunCommand) -> RunMemo:
    """What can be read about a run without its history."""
    own = command
    queued = (own.queue, own.not_before)
    return RunMemo(own.id, own.name, own.key, own.script, own.created, own.parent, own.blind, *queued)


def task_timeout(dead_after: float) -> timedelta:
    """How long a worker may hold a workflow's task; after that it is taken for dead."""
    return timedelta(seconds=min(max(dead_after, 2.0), 120.0))


def queue_of(module: str) -> str:
    """The task queue of a script, given the stem of its file."""
    return f"perdure-{module}"
