"""What the adapters share: the steps of an agent, what identifies a call of one, and what a request has spent.

A call is identified by the run of the agent that it belongs to, and by its place in there: the turn of a request, the
arguments of a tool. Messages are no part of it, since they hold times and random ids, which differ after a crash. Runs
of an agent are numbered; what one is asked is an input of its first request, so another prompt is drift.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypedDict, cast
from weakref import WeakKeyDictionary

from perdure.api.breaker import Breaker
from perdure.api.budget import spend
from perdure.api.options import unknown_option
from perdure.api.rate import Rate
from perdure.api.step import step
from perdure.api.step_call import Step
from perdure.catalogue.rules import rules_for
from perdure.config import settings
from perdure.core.durations import Duration
from perdure.core.execution.spec import InputKept
from perdure.core.policies.retry import Retry
from perdure.engines.features import TEMPORAL, Feature
from perdure.engines.interface import Scope, StepContext, here
from perdure.engines.runtime.thread_branches import current
from perdure.errors import DuplicateStep, OptionError, UsageError


class AgentStepOptions(TypedDict, total=False):
    """The options of `@step` that a request or a tool of an agent can have."""

    retry: Retry | None
    timeout: Duration | None
    breaker: str | Breaker | None
    rate: str | Rate | None
    max_repeats: int | None
    input: InputKept


ToolOptions = Mapping[str, AgentStepOptions | Literal[False]]
"""By the name of a tool: its options, or False for a tool that is no step."""

SHOWN = 200
"""Characters of a prompt that are kept as they are."""

KNOWN = tuple(AgentStepOptions.__annotations__)


class _Work(NamedTuple):
    """A call under way: what identifies it, and what does it."""

    key: Any
    body: Callable[[], Awaitable[Any]]


_work: ContextVar[_Work] = ContextVar("perdure_agent_work")


async def _unit(**shown: Any) -> Any:
    return await _work.get().body()


def _key(**shown: Any) -> Any:
    return _work.get().key


class AgentSteps:
    """The steps of one agent, each made when it is first called.

    Args:
        name: the name of the agent, with which those of its steps begin.
        script: the file whose settings hold.
        options: of all its steps.
        model: of its requests, over those of all.
        tools: of single tools, over those of all.

    Raises:
        OptionError: the name is empty, or an option does not exist or is not valid.
    """

    def __init__(
        self, name: str, script: str, options: AgentStepOptions, model: AgentStepOptions | None, tools: ToolOptions
    ) -> None:
        if not name:
            raise OptionError(
                "the agent has no name, which the names of its steps begin with",
                'give it one: Agent(name="researcher")',
            )
        self.name = name
        self._script = script
        self._options = options
        self._model: AgentStepOptions = {**options, **(model or {})}
        self._tools = tools
        self._steps: dict[str, Step[..., Any]] = {}
        for each in (options, model or {}, *(one for one in tools.values() if one is not False)):
            for option in each:
                if option not in KNOWN:
                    raise unknown_option("step", option, KNOWN)
        self._step("model", self._model)

    def is_step(self, tool: str) -> bool:
        """Whether that tool is a step."""
        return self._tools.get(tool) is not False

    async def request(self, run: AgentRun, turn: int, body: Callable[[], Awaitable[Any]]) -> Any:
        """One request to the model: what `body` returns, a value of JSON, or what is saved of it."""
        run.enter(self)
        shown = {"turn": turn, "prompt": run.prompt} if turn == 1 else {"turn": turn}
        return await self._call("model", self._model, [*run.key, turn], shown, body)

    async def tool(self, run: AgentRun, tool: str, arguments: Any, body: Callable[[], Awaitable[Any]]) -> Any:
        """One call of a tool, with arguments that are values of JSON."""
        run.enter(self)
        shown = arguments if isinstance(arguments, dict) else {"input": arguments}
        options: AgentStepOptions = {**self._options, **(self._tools.get(tool) or {})}
        named = {str(name): value for name, value in shown.items()}
        return await self._call(f"tools.{tool}", options, [*run.key, arguments], named, body)

    async def other(self, run: AgentRun, what: str, turn: int, body: Callable[[], Awaitable[Any]]) -> Any:
        """Whatever else leaves the process: listing the tools of a server, say."""
        run.enter(self)
        return await self._call(what, self._options, [*run.key, turn], {"turn": turn}, body)

    def _call(
        self, what: str, options: AgentStepOptions, key: Any, shown: dict[str, Any], body: Callable[[], Awaitable[Any]]
    ) -> Awaitable[Any]:
        _work.set(_Work(key, body))
        return cast(Awaitable[Any], self._step(what, options)(**shown))

    def _step(self, what: str, options: AgentStepOptions) -> Step[..., Any]:
        made = self._steps.get(what)
        if made is None:
            made = step(_unit, name=f"{self.name}.{what}", key=_key, **options)
            spec = made._spec
            spec.file = self._script
            spec.failures = functools.partial(rules_for, self._script)
            if "timeout" not in options:
                spec.timeout, spec.explicit = settings.step_timeout(self._script)
            self._steps[what] = made
        return made


class AgentRun:
    """One run of an agent in a workflow.

    Attributes:
        key: what identifies it.
        prompt: what it is asked, or what stands for that: the first request has it for an input.
    """

    def __init__(self, scope: Scope, key: list[Any], prompt: str) -> None:
        self.key = key
        self.prompt = prompt
        self._names = _of(scope).names

    def enter(self, steps: AgentSteps) -> None:
        """Make sure that no other agent of that name has steps in this workflow.

        Raises:
            DuplicateStep: one has.
        """
        if self._names.setdefault(steps.name, steps) is not steps:
            raise DuplicateStep(
                f"two agents are named {steps.name!r} in one run, and no record distinguishes their steps",
                'give one of them another name: durable(agent, name="...")',
            )


class _Runs:
    """The runs of agents in one workflow: which names are taken, how often what was asked, and each run by its id."""

    def __init__(self) -> None:
        self.names: dict[str, AgentSteps] = {}
        self.counts: Counter[Any] = Counter()
        self.by_id: dict[str, AgentRun] = {}


_runs: WeakKeyDictionary[Scope, _Runs] = WeakKeyDictionary()


def _of(scope: Scope) -> _Runs:
    runs = _runs.get(scope)
    if runs is None:
        runs = _runs[scope] = _Runs()
    return runs


def workflow_here() -> Scope | None:
    """The workflow that is executing here, outside of its steps; None elsewhere.

    Raises:
        UsageError: it is executed by a cluster, whose workers cannot be handed what an agent has at hand.
    """
    context = here.get()
    if context is None or type(context) is StepContext:
        return None
    if getattr(context, "spending", None) is None:
        raise TEMPORAL.unsupported(Feature.AGENT_STEPS)
    return cast(Scope, context)


def run_of(scope: Scope, agent: str, id: str, prompt: Callable[[], bytes]) -> AgentRun:
    """The run of that agent that has the id, which begins if there is none yet.

    Args:
        scope: the workflow.
        agent: its name.
        id: tells the runs of this process apart.
        prompt: what it is asked, in a form that is the same after a crash.
    """
    runs = _of(scope)
    run = runs.by_id.get(id)
    if run is None:
        line = _line(scope)
        runs.counts[agent, line] += 1
        run = runs.by_id[id] = AgentRun(scope, [line, runs.counts[agent, line]], _shown(prompt()))
    return run


def _shown(prompt: bytes) -> str:
    """What stands for a prompt: itself, or if it is long, its beginning and a digest."""
    text = prompt.decode(errors="replace")
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}... {hashlib.blake2b(prompt, digest_size=16).hexdigest()}"


def number_of_run(scope: Scope, agent: str) -> str:
    """A text that is the same for this run of an agent after a crash, and another for every other."""
    line = _line(scope)
    counts = _of(scope).counts
    counts["id", agent, line] += 1
    return f"{scope.id}:{agent}{line.decode()}:{counts['id', agent, line]}"


def _line(scope: Scope) -> bytes:
    """The thread of the workflow: what threads come to first is not fixed, as it is for tasks."""
    thread = current(scope)
    return b"" if thread is None else thread.branch.path


def count(model: str, tokens: int, usd: float | Decimal | None) -> None:
    """Say in a step what a request has spent; elsewhere nothing.

    Raises:
        UsageError: the price is not known, and a budget in dollars would count it as nothing.
    """
    context = here.get()
    if type(context) is not StepContext:
        return
    if usd is not None:
        spend(usd=usd, tokens=tokens)
        return
    spend(tokens=tokens)
    if any(ledger.bounds.usd is not None for ledger in context.call.ledgers):
        raise UsageError(
            f"the price of model {model!r} is unknown, and a budget in dollars is in force",
            "give the price, durable(agent, price=...), or bound tokens: perdure.budget(tokens=...)",
        )


def caller() -> str:
    """The file of the code below which everything is perdure's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "perdure":
        frame = frame.f_back
    return frame.f_code.co_filename
