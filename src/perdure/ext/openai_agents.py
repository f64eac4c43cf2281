"""Agents of the OpenAI Agents SDK whose model requests and function tools are steps.

The SDK has no interface for durable engines. A model and a tool are wrapped where it asks for them, and its default
runner is replaced by one that knows which run of which agent is under way, and passes all others through.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar, Unpack, cast

from perdure.engines.interface import here
from perdure.errors import OptionError, PerdureError, UsageError
from perdure.ext.agent_steps import (
    AgentStepOptions,
    AgentSteps,
    ToolOptions,
    caller,
    count,
    run_of,
    workflow_here,
)

try:
    from agents import Agent, Handoff, Model, ModelProvider, ModelResponse, RunConfig
    from agents.exceptions import UserError
    from agents.run import AgentRunner, RunState, get_default_agent_runner, set_default_agent_runner
    from agents.run_internal.model_provider_lifecycle import _normalize_run_config_for_runner
    from pydantic_core import to_json

    from perdure.ext.openai_agents_steps import Provider, Turns, as_step, current, recorded, under_way
except ImportError as missing:
    raise OptionError(
        f"perdure.ext.openai_agents needs the package openai-agents ({missing})",
        "pip install --upgrade 'perdure[openai-agents]'",
    ) from None

ContextT = TypeVar("ContextT")
Price = Callable[[str, ModelResponse], float | Decimal]

_numbers = itertools.count()


@dataclass(eq=False)
class DurableAgent(Agent[ContextT]):
    """An agent whose model requests and function tools are steps where a workflow runs it; `durable` makes it."""

    durability: _Durability = dataclasses.field(kw_only=True, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.model: str | Model | None = self.model  # type: ignore[has-type]  # wraps it

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "model" and isinstance(value, Model) and "durability" in self.__dict__:
            value = recorded(value, self.durability.count)
        super().__setattr__(name, value)

    async def get_all_tools(self, run_context: Any) -> list[Any]:
        """The tools of the next turn, which the SDK asks for before its request."""
        tools: list[Any] = await super().get_all_tools(run_context)
        if workflow_here() is None:
            return tools
        turns = under_way(f"agent {self.name!r}")
        turns.steps = self.durability.steps(self.name)
        self.handoffs[:] = [self.durability.handed_to(each) for each in self.handoffs]
        return [as_step(tool, self, turns) for tool in tools]


def durable(
    agent: Agent[ContextT],
    *,
    name: str | None = None,
    model: AgentStepOptions | None = None,
    tools: ToolOptions | None = None,
    price: Price | None = None,
    **step_options: Unpack[AgentStepOptions],
) -> DurableAgent[ContextT]:
    """Make the model requests and the function tools of an agent steps, where a workflow runs it with `Runner`.

    Elsewhere, and in a step, it runs as the agent itself does. Tokens, and dollars if there is a price, count for
    `perdure.budget`. Agents that it hands over to are durable likewise.

    Args:
        agent: the agent. It is not changed; what is appended to its tools later is a step, too.
        name: (str) what the names of its steps begin with: `researcher.model`, `researcher.tools.search`. Default: the
            name of the agent.
        model: (dict) options of the requests to the model, over those of all steps: `{"breaker": "llm"}`.
        tools: (dict) options of single tools, by their names: `{"search": {"rate": "10/s"}}`. False: the tool is no
            step, and may call steps of the workflow's.
        price: (function) takes the name of a model and a `ModelResponse` and returns dollars.
        step_options: `retry`, `timeout`, `breaker`, `rate`, `max_repeats` and `input`, as `@step` has them.

    Raises:
        OptionError: the agent has no name, is of a class of its own or durable already, or an option does not exist or
            is not valid.
    """
    if isinstance(agent, DurableAgent):
        raise OptionError(f"agent {agent.name!r} is durable already", "make the agent durable once")
    renamed = {agent.name: name} if name else {}
    family = _Durability(renamed, caller(), step_options, model, tools or {}, price)
    family.steps(agent.name)
    if not isinstance(get_default_agent_runner(), _Runner):
        set_default_agent_runner(_Runner(get_default_agent_runner()))
    return family.durable(agent)


class _Durability:
    """What is common to an agent and those that it hands over to."""

    def __init__(
        self,
        renamed: Mapping[str, str],
        script: str,
        options: AgentStepOptions,
        model: AgentStepOptions | None,
        tools: ToolOptions,
        price: Price | None,
    ) -> None:
        self.price = price
        self._renamed = renamed
        self._arguments = (script, options, model, tools)
        self._steps: dict[str, AgentSteps] = {}
        self._made: dict[int, tuple[Any, Any]] = {}  # by the id of an agent or a handoff: itself, which keeps the id

    def steps(self, agent: str) -> AgentSteps:
        """The steps of the agent of that name."""
        name = self._renamed.get(agent, agent)
        if name not in self._steps:
            self._steps[name] = AgentSteps(name, *self._arguments)
        return self._steps[name]

    def durable(self, agent: Agent[Any]) -> DurableAgent[Any]:
        """The same agent, durable."""
        if isinstance(agent, DurableAgent):
            return agent
        if type(agent) is not Agent:
            raise OptionError(
                f"agent {agent.name!r} is of class {type(agent).__name__}, which perdure cannot make durable",
                "make it of class Agent, or run the whole agent in a step",
            )
        if id(agent) not in self._made:
            fields = {each.name: getattr(agent, each.name) for each in dataclasses.fields(agent) if each.init}
            fields["handoffs"] = list(agent.handoffs)
            self._made[id(agent)] = agent, DurableAgent(**fields, durability=self)
        return cast(DurableAgent[Any], self._made[id(agent)][1])

    def handed_to(self, to: Agent[Any] | Handoff[Any, Any]) -> Any:
        """A handoff, or an agent that stands for one, with a durable agent at its end."""
        if not isinstance(to, Handoff):
            return self.durable(to)
        if id(to) not in self._made:
            invoke = to.on_invoke_handoff

            async def invoked(context: Any, arguments: str) -> Any:
                return self.durable(await invoke(context, arguments))

            made = copy.copy(to)
            made.on_invoke_handoff = invoked
            self._made[id(to)] = to, made
            self._made[id(made)] = made, made
        return self._made[id(to)][1]

    def count(self, model: Model, response: ModelResponse) -> None:
        """Say what a request has spent."""
        name = getattr(model, "model", None)
        name = name if isinstance(name, str) else type(model).__name__
        usd = None if self.price is None else self.price(name, response)
        count(name, response.usage.total_tokens, usd)


class _Runner(AgentRunner):
    """The default runner: runs of durable agents in workflows and steps are known, others are passed through."""

    def __init__(self, below: AgentRunner) -> None:
        self._below = below

    async def run(self, starting_agent: Any, input: Any, **options: Any) -> Any:
        """As `Runner.run`."""
        with _known(starting_agent, input, options) as made:
            try:
                return await self._below.run(starting_agent, input, **options)
            except UserError as error:
                if isinstance(error.__cause__, PerdureError):  # of a tool: wrapped, it would be no Drift to anybody
                    raise error.__cause__ from None
                raise
            finally:
                if made is not None:
                    await made.aclose()

    def run_sync(self, starting_agent: Any, input: Any, **options: Any) -> Any:
        """As `Runner.run_sync`."""
        if here.get() is None or not isinstance(starting_agent, DurableAgent):
            return self._below.run_sync(starting_agent, input, **options)
        return super().run_sync(starting_agent, input, **options)  # comes to `run`

    def run_streamed(self, starting_agent: Any, input: Any, **options: Any) -> Any:
        """As `Runner.run_streamed`."""
        with _known(starting_agent, input, options):
            return self._below.run_streamed(starting_agent, input, **options)


@contextmanager
def _known(agent: Any, input: Any, options: dict[str, Any]) -> Iterator[ModelProvider | None]:
    """Make a run known to what it calls, and its models recorded; the provider of models, if it was made for it."""
    if here.get() is None:
        yield None
        return
    turns, made = None, None
    if isinstance(agent, DurableAgent):
        config, is_made = _normalize_run_config_for_runner(options.get("run_config"))
        scope = workflow_here()
        if scope is not None:
            _refuse(options, config, agent.name)
            steps = agent.durability.steps(agent.name)
            run = run_of(scope, steps.name, f"openai-{next(_numbers)}", lambda: _prompt(input))
            run.key.append(steps.name)  # agents that it hands over to may have runs of their own
            turns = Turns(run, steps)
        made = config.model_provider if is_made else None
        options["run_config"] = _recording(config, agent.durability)
    token = current.set(turns)
    try:
        yield made
    finally:
        current.reset(token)


def _recording(config: RunConfig, durability: _Durability) -> RunConfig:
    model = recorded(config.model, durability.count) if isinstance(config.model, Model) else config.model
    return dataclasses.replace(config, model=model, model_provider=Provider(config.model_provider, durability.count))


def _refuse(options: Mapping[str, Any], config: RunConfig, agent: str) -> None:
    """What keeps a state of its own beside the run, which a crash would leave as it is.

    Raises:
        UsageError: the run uses such.
    """
    if options.get("session") is not None:
        raise UsageError(
            f"agent {agent!r} is given a session in a workflow, where messages would be in it twice after a crash",
            "pass what was said before as input: Runner.run(agent, result.to_input_list() + [...])",
        )
    if config.sandbox is not None:
        raise UsageError(
            f"agent {agent!r} is given a sandbox in a workflow, whose contents no record restores",
            "run the whole agent in a step",
        )


def _prompt(input: Any) -> bytes:
    if isinstance(input, RunState):
        input = input._original_input
    return input.encode() if isinstance(input, str) else to_json(input, fallback=lambda value: type(value).__qualname__)
