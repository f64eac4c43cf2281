"""Agents of Pydantic AI whose model requests and tools are steps, by the library's interface for durable engines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar, Unpack

from perdure.api.context import now
from perdure.engines.interface import here
from perdure.errors import OptionError, UsageError
from perdure.ext.agent_steps import (
    AgentStepOptions,
    AgentSteps,
    ToolOptions,
    caller,
    count,
    number_of_run,
    run_of,
    workflow_here,
)

try:
    from pydantic_ai import RunContext
    from pydantic_ai.agent import AbstractAgent, AgentRunResult, WrapperAgent
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.durable_exec import (
        JSON_CODEC,
        BaseDurabilityCapability,
        CallableOperationBackend,
        DurabilityEngineSpec,
        DurableOperationBackend,
        DurableOperationId,
        JournalOperationNamer,
        ModelRequestId,
        RoleBasedOperationConfig,
        ToolsetCallToolId,
        conversation_id_from_run_id,
        record_durable_unit,
        replay_scope,
    )
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model
    from pydantic_core import to_json, to_jsonable_python
except ImportError as missing:
    raise OptionError(
        f"perdure.ext.pydantic_ai needs the package pydantic-ai ({missing})",
        "pip install --upgrade 'perdure[pydantic-ai]'",
    ) from None

DepsT = TypeVar("DepsT")
OutputT = TypeVar("OutputT")
Price = Callable[[ModelResponse], float | Decimal]


class DurableAgent(WrapperAgent[DepsT, OutputT]):
    """An agent whose model requests and tool calls are steps where a workflow runs it; `durable` makes it."""

    def __init__(self, wrapped: AbstractAgent[DepsT, OutputT], durability: _Durability[DepsT]) -> None:
        super().__init__(wrapped)
        self._durability = durability

    def iter(self, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        """As `iter` of the agent; `run`, `run_sync` and `run_stream` come here, too."""
        if here.get() is not None:
            more = self._durability if self._durability.in_durable_context else _Counting(self._durability.price)
            options["capabilities"] = [*(options.get("capabilities") or ()), more]
        return super().iter(*args, **options)

    def __repr__(self) -> str:
        return f"<durable agent {self._durability.name!r}>"


def durable(
    agent: AbstractAgent[DepsT, OutputT],
    *,
    name: str | None = None,
    model: AgentStepOptions | None = None,
    tools: ToolOptions | None = None,
    models: Mapping[str, Model] | None = None,
    price: Price | None = None,
    **step_options: Unpack[AgentStepOptions],
) -> DurableAgent[DepsT, OutputT]:
    """Make the model requests and the tool calls of an agent steps, where a workflow runs it.

    Elsewhere, and in a step, it runs as the agent itself does. Tokens, and dollars if the price is known, count for
    `perdure.budget`.

    Args:
        agent: the agent. Tools that are added to it later are steps, too.
        name: (str) what the names of its steps begin with: `researcher.model`, `researcher.tools.search`. Default: the
            name of the agent.
        model: (dict) options of the requests to the model, over those of all steps: `{"breaker": "llm"}`.
        tools: (dict) options of single tools, by their names: `{"search": {"rate": "10/s"}}`. False: the tool is no
            step, and may call steps of the workflow's.
        models: (dict) further models that runs ask for, by an id, since a run in a workflow takes no unknown instance.
        price: (function) takes a `ModelResponse` and returns dollars. Default: what the library knows.
        step_options: `retry`, `timeout`, `breaker`, `rate`, `max_repeats` and `input`, as `@step` has them.

    Raises:
        OptionError: the agent has no name, an option does not exist or is not valid, or the agent is durable already.
    """
    if isinstance(agent, DurableAgent):
        raise OptionError(f"{agent!r} is durable already", "make the agent durable once")
    steps = AgentSteps(name or agent.name or "", caller(), step_options, model, tools or {})
    return DurableAgent(agent, _Durability(steps, models, price))


class _Durability(BaseDurabilityCapability[DepsT]):
    """What a run of the agent asks where it would reach out of the process."""

    engine_spec = DurabilityEngineSpec(
        engine_name="perdure",
        durable_unit_noun="step",
        durable_container_noun="workflow",
        codec=JSON_CODEC,
        unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
        toolset_lifecycles={"function": "enter-always", "mcp": "enter-in-durable-unit", "dynamic": "enter-never"},
    )

    def __init__(self, steps: AgentSteps, models: Mapping[str, Model] | None, price: Price | None) -> None:
        super().__init__(models=models, name=steps.name)
        self._steps = steps
        self.price = price
        self._backend = _Backend(steps, price)

    @property
    def in_durable_context(self) -> bool:
        """Whether a workflow, outside of its steps, runs the agent."""
        return workflow_here() is not None

    def get_durable_operation_backend(self) -> DurableOperationBackend[None]:
        """What performs the calls."""
        return self._backend

    def get_default_run_id(self) -> str | None:
        """The same id after a crash: messages are told apart by it."""
        scope = workflow_here()
        return None if scope is None else number_of_run(scope, self._steps.name)

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """Likewise."""
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        """When a run with a timeout has begun, in whichever life."""
        return now() if self.in_durable_context else None

    async def wrap_run(self, ctx: RunContext[DepsT], *, handler: Any) -> AgentRunResult[Any]:
        """Leave what is replayed out of the traces."""
        if not self.in_durable_context:
            return await super().wrap_run(ctx, handler=handler)
        with replay_scope():
            return await super().wrap_run(ctx, handler=handler)


_Durability.__name__ = "durable"  # the library's errors name what the user has called


class _Counting(AbstractCapability[DepsT]):
    """In a step of the user's own, what the agent spends counts for that step."""

    def __init__(self, price: Price | None) -> None:
        self._price = price

    async def wrap_model_request(self, ctx: RunContext[DepsT], *, request_context: Any, handler: Any) -> ModelResponse:
        """Count it as soon as it is known."""
        response: ModelResponse = await handler(request_context)
        _count(response, self._price)
        return response


class _Backend(CallableOperationBackend[None]):
    """Performs what the library wants to be durable, each as a call of a step."""

    def __init__(self, steps: AgentSteps, price: Price | None) -> None:
        super().__init__(
            namer=JournalOperationNamer(steps.name),
            config=RoleBasedOperationConfig[None](
                model=None, event=None, capability=None, tool=None, resolve_tool=self._for_tool
            ),
        )
        self._steps = steps
        self._price = price

    def _for_tool(self, operation_id: DurableOperationId, tool: object | None, name: str) -> Literal[False] | None:
        return None if self._steps.is_step(name) else False

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: None,
    ) -> object:
        """Execute `body` as one call of a step, or return what is saved of it."""
        scope = workflow_here()
        if scope is None:
            return await body()
        context = next((each for each in cache_key if isinstance(each, RunContext)), None)
        if context is None:
            raise UsageError(
                f"agent {self._steps.name!r} uses {name!r} in a workflow, which is not supported",
                "do without it in the workflow, or run the whole agent in a step",
            )
        run = run_of(scope, self._steps.name, str(context.run_id), lambda: to_json(context.prompt, fallback=_named))
        executed = False

        async def work() -> object:
            nonlocal executed
            executed = True
            payload = await body()
            if isinstance(operation_id, ModelRequestId):
                _count(JSON_CODEC.load(ModelResponse, payload), self._price)
            return payload

        match operation_id:
            case ModelRequestId():
                result = await self._steps.request(run, context.run_step, work)
            case ToolsetCallToolId():
                tool, arguments = cache_key[:2]
                shown = to_jsonable_python(arguments, fallback=_named)
                result = await self._steps.tool(run, str(tool), shown, work)
            case _:
                result = await self._steps.other(run, name.partition("__")[2], context.run_step, work)
        record_durable_unit(executed=executed)
        return result


def _count(response: ModelResponse, price: Price | None) -> None:
    usage = response.usage
    usd: float | Decimal | None = usage.cost
    if price is not None:
        usd = price(response)
    elif usd is None:
        try:
            usd = response.cost().total_price
        except (LookupError, ValueError, AssertionError):  # an unknown model, no usage, a model without a name
            usd = None
    count(response.model_name or "", usage.total_tokens, usd)


def _named(value: object) -> str:
    return type(value).__qualname__
