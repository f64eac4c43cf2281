"""What an engine can do and what it cannot, with the reason and the alternative: known without loading the engine."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from perdure.errors import OptionError, PerdureError, UsageError


class Feature(Enum):
    """What an engine may lack. The set is closed: operations ask for these, and never for the engine's name."""

    # What a workflow asks for.
    RUN_LOCK = auto()
    """`@workflow(lock=...)`: one run at a time under a name."""
    IF_LOCKED = auto()
    """`if_locked=`: what to do when another process has the run."""
    PARK_AFTER = auto()
    """`park_after=`: a run that has failed too often is set aside."""
    ONCE = auto()
    """`once=`: the same inputs are run to their end once."""
    FAIL_ON_DEAD = auto()
    """`fail_on_dead=`: a run with dead letters fails."""
    NAMED_LOCK = auto()
    """`perdure.lock`: a block of code that one process executes at a time."""
    STEP_GUARDS = auto()
    """`breaker=` and `rate=` of a step, kept for all processes together."""

    BUDGET = auto()
    """`perdure.budget` and `perdure.spend`: what the steps of a block may spend, in all lives of a run."""

    AGENT_STEPS = auto()
    """`perdure.ext`: the requests and tools of an agent are steps, which only the process of the workflow can make."""

    ADAPTIVE_CONCURRENCY = auto()
    """`concurrency="auto"` of a map."""

    OWN_LOOPS = auto()
    """Durable calls in an event loop that a sync workflow runs itself."""

    MAP_PROCESSES = auto()
    """`processes=` of a map: its items in processes of their own."""

    QUEUE_LIMITS = auto()
    """`perdure.Queue(...)` with limits for all workers together; `perdure queue`."""

    # What the commands ask for.
    STATE_FILE = auto()
    """Runs are kept in a state file, which can be opened, copied and looked over."""
    PROCESSES = auto()
    """Which process executes a run is known, and what is in flight there."""
    EARLIER_ATTEMPTS = auto()
    """Failed attempts are kept also from before the run last failed."""
    EXECUTIONS = auto()
    """In how many lives a call was executed is kept, whether it asked for its key, and how long each attempt took."""
    LETTER_NUMBERS = auto()
    """Dead letters have numbers of their own."""
    CHANGE_DEAD_LETTERS = auto()
    """Dead letters can be edited, re-driven and dropped."""
    FORK = auto()
    """A run can be copied up to a step."""
    SERVICE_LISTING = auto()
    """Breakers, pauses and rate limits can be listed and changed."""
    WORKERS = auto()
    """Workers execute what other processes start; runs under way can be checked against edited scripts."""


class Missing(NamedTuple):
    """Why a feature is missing, and what to do instead; both may have {placeholders} for what was asked for."""

    reason: str
    instead: str
    error: type[PerdureError] = UsageError


class Capabilities:
    """What a kind of engine can do.

    Args:
        missing: the features that it lacks.
    """

    def __init__(self, missing: Mapping[Feature, Missing]) -> None:
        self._missing = missing

    def supports(self, feature: Feature) -> bool:
        """Whether the engine has that feature."""
        return feature not in self._missing

    def require(self, feature: Feature, **asked: object) -> None:
        """Return if the engine has that feature.

        Args:
            feature: which.
            asked: what the texts of the feature name, such as the command that needs it.

        Raises:
            UsageError: it has not; an OptionError if an option of a decorator asks for it.
        """
        if feature in self._missing:
            raise self.unsupported(feature, **asked)

    def unsupported(self, feature: Feature, **asked: object) -> PerdureError:
        """The error for a feature that the engine lacks."""
        reason, instead, error = self._missing[feature]
        return error(reason.format_map(asked), instead.format_map(asked))

    def reason(self, feature: Feature) -> str:
        """Why the engine lacks a feature."""
        return self._missing[feature].reason


LOCAL = Capabilities(
    {
        Feature.WORKERS: Missing(
            "perdure {command} needs a cluster, and none is named",
            "name it: perdure {command} --engine temporal://HOST:7233/NAMESPACE FILE, or set PERDURE_ENGINE",
            OptionError,
        ),
    }
)
"""The engine of one machine, whose runs are in a state file."""

TEMPORAL = Capabilities(
    {
        Feature.RUN_LOCK: Missing(
            "{owner} asks for lock {lock!r}, which is not supported on a cluster",
            "remove lock=: of runs with the same inputs, or with the same with_options(id=...), a cluster executes"
            " one at a time, on whatever machine; to keep different runs apart, run them with --engine local",
            OptionError,
        ),
        Feature.IF_LOCKED: Missing(
            "{owner} asks for if_locked={if_locked!r}, which is not supported on a cluster",
            "remove it: on a cluster a call waits for the run that is under way, and returns its result",
            OptionError,
        ),
        Feature.PARK_AFTER: Missing(
            "{owner} asks for park_after={park_after}, which is not supported on a cluster",
            "remove it: on a cluster a failed run stays failed, and can be resumed; `perdure ps` lists it",
            OptionError,
        ),
        Feature.ONCE: Missing(
            "{owner} asks for once=True, which is not supported on a cluster",
            "give the run an id: of all runs with the same with_options(id=...), a cluster executes one, ever",
            OptionError,
        ),
        Feature.FAIL_ON_DEAD: Missing(
            "{owner} asks for fail_on_dead=, which is not supported on a cluster",
            "call raise_if_dead() on the batch, or give its map a max_dead=",
            OptionError,
        ),
        Feature.NAMED_LOCK: Missing(
            "perdure.lock is not supported on a cluster: the locks of a state file are those of one machine",
            "give the runs an id: of those with the same with_options(id=...), a cluster executes one at a time",
            OptionError,
        ),
        Feature.STEP_GUARDS: Missing(
            "{option} is not supported on a cluster: Temporal keeps no state of a service for all workers",
            "remove it, and guard the calls of each worker machine inside the step (`with Breaker(...):`); or "
            "limit the rate of the whole task queue (`temporal task-queue config set --queue-rps-limit`)",
            OptionError,
        ),
        Feature.BUDGET: Missing(
            "{option} is not supported on a cluster: what failed attempts spend is not kept there for the workflow",
            "return what each step has spent, and add it up in the workflow",
        ),
        Feature.AGENT_STEPS: Missing(
            "an agent made durable by perdure.ext is not supported on a cluster: its steps need what the process of "
            "the workflow has at hand",
            "run the whole agent in a step of the workflow, or the workflow with --engine local",
        ),
        Feature.ADAPTIVE_CONCURRENCY: Missing(
            'concurrency is "auto", which is not supported on a cluster: '
            "there Temporal makes the attempts and tries them again",
            "give a number, such as concurrency=8",
            OptionError,
        ),
        Feature.OWN_LOOPS: Missing(
            "a durable call in an event loop that a sync workflow runs itself is not supported on a cluster",
            "make the workflow an async def, and await the call there; or run it with --engine local",
        ),
        Feature.MAP_PROCESSES: Missing(
            "processes= of a map is not supported on a cluster: there its workers execute the items",
            "decorate the step with @step(isolate=True), and give concurrency= instead",
            OptionError,
        ),
        Feature.QUEUE_LIMITS: Missing(
            "{asked} is not supported on a cluster: limits of queues are counted in a state file",
            "remove the limits, and bound what runs at a time by the number of workers, and how fast by the task queue"
            " (temporal task-queue config set --queue-rps-limit); or use --engine local",
        ),
        Feature.STATE_FILE: Missing(
            "the runs of a cluster are kept by the cluster, not in a state file",
            "give --engine local for the state file of this machine's workflows",
        ),
        Feature.PROCESSES: Missing(
            "a worker that has died is noticed when it was silent for a while; without a worker, nothing moves",
            "see the logs of the workers",
        ),
        Feature.EARLIER_ATTEMPTS: Missing(
            "a cluster keeps the failed attempts of a run only since it was last resumed", "see the logs of the workers"
        ),
        Feature.EXECUTIONS: Missing(
            "a cluster does not keep how often a call was executed over the deaths of workers",
            "send perdure.idempotency_key() with each request that changes something",
        ),
        Feature.LETTER_NUMBERS: Missing(
            "dead letters have no numbers on a cluster", "name one by its run and the number of its record: RUN#7"
        ),
        Feature.CHANGE_DEAD_LETTERS: Missing(
            "dlq {command} is not supported on a cluster",
            "see the dead letter with `perdure dlq ls` and `perdure dlq show`, and start a run with that input",
        ),
        Feature.FORK: Missing(
            "fork is not supported on a cluster",
            "start a new run if it is done; else keep what run {run} has and execute the rest again: "
            "perdure resume {typed} --accept-changes",
        ),
        Feature.SERVICE_LISTING: Missing(
            "there are no breakers on a cluster", "give --engine local for the state file of this machine's workflows"
        ),
    }
)
"""The engine of a Temporal cluster."""
