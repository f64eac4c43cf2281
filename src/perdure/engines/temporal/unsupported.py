"""What a workflow may ask for on one machine, and not on a cluster: refused before anything runs, not ignored."""

from __future__ import annotations

from perdure.core.execution.spec import Spec
from perdure.core.policies.guard import Guard
from perdure.errors import OptionError


def refuse_parking(spec: Spec) -> None:
    """Refuse to count how often a run has failed, in order to set it aside.

    Raises:
        OptionError: it is to be set aside after so many failures.
    """
    if spec.rules.park_after is not None:
        raise OptionError(
            f"{spec.owner} asks for park_after={spec.rules.park_after}, which a cluster does not know",
            "leave it away: on a cluster a failed run is kept as it is, and can be resumed; `perdure ps` lists it",
        )


def refuse_locks(spec: Spec) -> None:
    """Refuse the options of a workflow that only a state file can keep.

    Raises:
        OptionError: it has a lock, or is told what to do if it is locked.
    """
    rules = spec.rules
    if rules.lock is not None:
        raise OptionError(
            f"{spec.owner} asks for lock {rules.lock!r}, which a cluster does not have",
            "leave lock= away: of runs with the same inputs, or with the same with_options(id=...), a cluster executes"
            " one at a time, on whatever machine; to keep different runs apart, run them with --engine local",
        )
    if rules.if_locked != "skip":
        raise OptionError(
            f"{spec.owner} asks for if_locked={rules.if_locked!r}, which a cluster does not know",
            "leave it away: on a cluster a call waits for the run that is under way, and returns its result",
        )


def unguarded(guard: Guard) -> OptionError:
    """The refusal of a step that has a breaker or a rate limit."""
    option = f"breaker {guard.service!r}" if guard.breaker is not None else f"the rate limit of {guard.step!r}"
    return OptionError(
        f"{option} cannot be kept on a cluster: its steps are called by workers on many machines, and what all of them "
        "know about a service would have to be kept by Temporal, which has no such thing",
        "leave it out there, and guard the calls of each worker machine inside the step (`with Breaker(...):`); or "
        "bound the rate of the whole task queue (`temporal task-queue config set --queue-rps-limit`)",
    )
