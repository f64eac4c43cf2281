"""Models and tools of the OpenAI Agents SDK as the steps of a turn."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, cast

from agents import (
    Agent,
    CodeInterpreterTool,
    FileSearchTool,
    FunctionTool,
    HostedMCPTool,
    ImageGenerationTool,
    Model,
    ModelProvider,
    ModelResponse,
    ShellTool,
    ToolSearchTool,
    WebSearchTool,
)
from agents.exceptions import ModelBehaviorError
from agents.tool import (
    ProgrammaticToolCallingTool,
    invoke_function_tool,
    maybe_invoke_function_tool_failure_error_function,
    set_function_tool_failure_error_function,
    with_function_tool_failure_error_handler,
)

from perdure.errors import PerdureError, UsageError
from perdure.ext.agent_steps import AgentRun, AgentSteps, workflow_here
from perdure.ext.openai_agents_values import dumped, events_of, loaded, plain, response_of

Count = Callable[[Model, ModelResponse], None]
"""Says in a step what a response has cost."""

HOSTED = (
    CodeInterpreterTool,
    FileSearchTool,
    HostedMCPTool,
    ImageGenerationTool,
    ProgrammaticToolCallingTool,
    ToolSearchTool,
    WebSearchTool,
)
"""Tools that the provider executes within a request: what they return is saved with its response."""

REFUSED = "perdure.refused"
"""In the record of a call: the tool does not take these arguments, which the model is told."""


class Turns:
    """A run of an agent in a workflow: its number, and that of its turn, whichever agent has it."""

    def __init__(self, run: AgentRun, steps: AgentSteps) -> None:
        self.run = run
        self.steps = steps
        self.turn = 0


current: ContextVar[Turns | None] = ContextVar("perdure_openai_turns", default=None)


def under_way(what: str) -> Turns:
    """The turns of the run that an agent or a model is in.

    Raises:
        UsageError: that run is of an agent that is not durable.
    """
    turns = current.get()
    if turns is None:
        raise UsageError(
            f"{what} is durable, and has its turn in a run that is not",
            "make the agent durable that Runner.run is given; set a runner of your own before durable() is called",
        )
    return turns


class Recorded(Model):
    """A model whose requests are steps in a workflow, and whose spending counts in a step of the user's own."""

    def __init__(self, model: Model, count: Count) -> None:
        self._model = model
        self._count = count

    async def get_response(self, *args: Any, **options: Any) -> ModelResponse:
        """What the model answers, or what is saved of it."""
        if workflow_here() is None:
            response = await self._model.get_response(*args, **options)
            self._count(self._model, response)
            return response
        turns = under_way(f"model {type(self._model).__name__}")
        turns.turn += 1

        async def work() -> Any:
            answer = await self._model.get_response(*args, **options)
            self._count(self._model, answer)
            return dumped(answer)

        return loaded(await turns.steps.request(turns.run, turns.turn, work))

    async def stream_response(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """The same as events: in a workflow, once the whole response is saved."""
        if workflow_here() is not None:
            for event in events_of(await self.get_response(*args, **options)):
                yield event
            return
        async for event in self._model.stream_response(*args, **options):
            if event.type == "response.completed":
                self._count(self._model, response_of(event.response))
            yield event

    def get_retry_advice(self, request: Any) -> Any:
        """As the model says."""
        return self._model.get_retry_advice(request)

    async def close(self) -> None:
        """As the model does."""
        await self._model.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self._model._cleanup_on_run_end(owner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_model"], name)


def recorded(model: Model, count: Count) -> Model:
    """The model with its requests as steps."""
    return model if isinstance(model, Recorded) else Recorded(model, count)


class Provider(ModelProvider):
    """Looks up models by their names, and makes their requests steps."""

    def __init__(self, provider: ModelProvider, count: Count) -> None:
        self._provider = provider
        self._count = count
        self._models: dict[int, Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        """The model of that name."""
        model = self._provider.get_model(model_name)
        return self._models.setdefault(id(model), recorded(model, self._count))

    async def aclose(self) -> None:
        """Close what the provider has opened."""
        await self._provider.aclose()


def as_step(tool: Any, agent: Agent[Any], turns: Turns) -> Any:
    """The tool as the SDK is to call it in a workflow."""
    name = tool.qualified_name if isinstance(tool, FunctionTool) else tool.name
    if not turns.steps.is_step(name) or isinstance(tool, HOSTED):
        return tool
    if isinstance(tool, FunctionTool):
        return _function_step(tool, name, agent, turns)
    if isinstance(tool, ShellTool) and tool.executor is None:  # in a container of the provider's
        return tool
    raise UsageError(
        f"tool {name!r} of agent {agent.name!r} is a {type(tool).__name__}, which is executed here and is no step",
        f'make a function tool of it; if a crash may repeat it: durable(agent, tools={{"{name}": False}})',
    )


def _function_step(tool: FunctionTool, name: str, agent: Agent[Any], turns: Turns) -> FunctionTool:
    """The same tool as a step. What fails is tried again by its policy, before the model is told."""
    steps, run = turns.steps, turns.run
    inner = set_function_tool_failure_error_function(copy.copy(tool), None)
    ends = agent.tool_use_behavior != "run_llm_again" and agent.output_type not in (None, str)
    whole = ends or callable(agent.tool_use_behavior) or tool.output_json_schema is not None

    async def invoked(context: Any, arguments: str) -> Any:
        async def work() -> Any:
            try:
                result = await invoke_function_tool(function_tool=inner, context=context, arguments=arguments)
            except ModelBehaviorError as error:  # says what is wrong with the arguments, each time
                return {REFUSED: str(error)}
            return plain(result, name, whole)

        result = await steps.tool(run, name, _arguments(arguments), work)
        if isinstance(result, dict) and result.keys() == {REFUSED}:
            raise ModelBehaviorError(result[REFUSED])
        return result

    async def failed(context: Any, error: Exception) -> str:
        if isinstance(error, PerdureError):  # drift, a budget that is spent: nothing to tell the model
            raise error
        text: str | None = await maybe_invoke_function_tool_failure_error_function(
            function_tool=tool, context=context, error=error
        )
        if text is None:
            raise error
        return text

    made = copy.copy(tool)
    made.timeout_seconds = None  # is that of the step's inner call
    made.on_invoke_tool = invoked
    if hasattr(tool.on_invoke_tool, "__agents_bind_function_tool__"):  # else the tool tells the model itself
        prepare = getattr(tool.on_invoke_tool, "prepare_arguments", None)
        if prepare is not None:
            cast(Any, invoked).__agents_prepare_arguments__ = prepare
        made.on_invoke_tool = with_function_tool_failure_error_handler(invoked, lambda *failure: None)
        set_function_tool_failure_error_function(made, failed)
    return copy.copy(made)  # binds the handler


def _arguments(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text
