"""The tools that change something: offered only with `--allow-writes`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from perdure.mcp.answers import Answer
from perdure.mcp.tool import Arguments, LetterReference, RunReference, Tool, Where
from perdure.operations.location import Location, opened

Wait = Annotated[
    float,
    Meta(
        ge=0,
        le=600,
        description="Seconds to wait for its end; what takes longer goes on, and show_run and why_run tell how it is.",
    ),
]

PATIENCE = 30.0
"""Seconds; common clients give a tool 60."""


class ResumeRun(Arguments, frozen=True):
    """Of `resume_run`."""

    run: RunReference
    accept_changes: Annotated[
        bool, Meta(description="The script was edited on purpose: what it calls anew is new work.")
    ] = False
    wait: Wait = PATIENCE


def resume_run(where: Where, given: ResumeRun) -> Answer:
    """Go on with a run."""
    from perdure.mcp.commands import carry_out

    location, run = _run(where, given.run)
    options = ["--json", *(["--accept-changes"] if given.accept_changes else [])]
    return carry_out(location, ["resume", *options], run, given.wait, {"run": run})


class CancelRun(Arguments, frozen=True):
    """Of `cancel_run`."""

    run: RunReference
    wait: Wait = PATIENCE


def cancel_run(where: Where, given: CancelRun) -> Answer:
    """End a run for good."""
    from perdure.mcp.commands import carry_out

    location, run = _run(where, given.run)
    return carry_out(location, ["cancel"], run, given.wait, {"run": run})


def _run(where: Where, reference: str) -> tuple[Location, str]:
    from perdure.operations.find_run import find_run

    location = where.locate()
    with opened(location, reference) as store:
        return location, find_run(store, reference).id


class RedriveDeadLetter(Arguments, frozen=True):
    """Of `redrive_dead_letter`."""

    letter: LetterReference
    wait: Wait = PATIENCE


def redrive_dead_letter(where: Where, given: RedriveDeadLetter) -> Answer:
    """Try a dead letter again."""
    from perdure.mcp.commands import carry_out
    from perdure.operations.dead_letters import find_letter, run_named
    from perdure.operations.started_commands import REDRIVEN

    location = where.locate()
    with opened(location, run_named(str(given.letter))) as store:
        number = find_letter(store, str(given.letter)).lid
    return carry_out(location, ["dlq", "redrive", "--json"], str(number), given.wait, {"letter": number}, REDRIVEN)


class SignalRun(Arguments, frozen=True):
    """Of `signal_run`."""

    run: RunReference
    event: Annotated[str, Meta(description="The name that the run waits for; why_run has it.", min_length=1)]
    value: Annotated[Any, Meta(description="What is sent, as JSON.")] = None
    key: Annotated[str, Meta(description="Tells signals of one name apart.", max_length=500)] = ""
    id: Annotated[str | None, Meta(description="Sent again with the same one, nothing is stored.")] = None


def signal_run(where: Where, given: SignalRun) -> Answer:
    """Tell a run something."""
    import json

    from perdure.operations.signals import send

    location, run = _run(where, given.run)
    sent = send(location, run, given.event, json.dumps(given.value), given.key, given.id)
    return {"run": sent.run, "event": sent.event, "outcome": sent.outcome, "status": sent.status, "pid": sent.pid}


class ResetBreaker(Arguments, frozen=True):
    """Of `reset_breaker`."""

    name: Annotated[str, Meta(description="As list_breakers has it.", min_length=1, max_length=500)]


def reset_breaker(where: Where, given: ResetBreaker) -> Answer:
    """Close a breaker."""
    from perdure.operations import deeds
    from perdure.operations.breakers import change_breaker

    location = where.locate()
    change_breaker(location, given.name, "reset")
    deeds.note(location, "breaker reset", given.name, via="mcp")
    return {"name": given.name, "state": "closed"}


WRITING: tuple[Tool[Any], ...] = (
    Tool(
        "redrive_dead_letter",
        "Try a dead letter again: its step is executed, as it is in the script now.",
        RedriveDeadLetter,
        redrive_dead_letter,
        writes=True,
    ),
    Tool(
        "resume_run",
        "Go on with an unfinished run: its script is executed; completed steps keep their results.",
        ResumeRun,
        resume_run,
        writes=True,
    ),
    Tool(
        "cancel_run",
        "End an unfinished run for good; its clean-ups are made.",
        CancelRun,
        cancel_run,
        writes=True,
        destructive=True,
    ),
    Tool(
        "signal_run",
        "Tell a run something that it waits for, or will wait for. A suspended run that nobody executes goes on with "
        "resume_run then.",
        SignalRun,
        signal_run,
        writes=True,
    ),
    Tool(
        "reset_breaker",
        "Close a circuit breaker and end the pause of its service: calls go through again at once.",
        ResetBreaker,
        reset_breaker,
        writes=True,
    ),
)
"""Every tool that changes something."""
