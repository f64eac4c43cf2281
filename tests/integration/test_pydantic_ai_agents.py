"""What agents of Pydantic AI do in a workflow: it works as it does elsewhere, or is refused with what to do instead."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="pip install 'perdure[pydantic-ai]'")

from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel as Canned  # pytest would collect it
from pydantic_ai.toolsets import FunctionToolset
from tests.conftest import Machine

import perdure
from perdure import Retry, errors, step, workflow
from perdure.ext.pydantic_ai import durable


@pytest.fixture(autouse=True)
def state(machine: Machine) -> Iterator[Machine]:
    """A state file for each test."""
    return machine


class City(BaseModel):
    name: str
    founded: datetime.date


def shop(name: str, **options: Any) -> Agent[None, str]:
    """An agent that calls each of its tools once, and then answers."""
    return Agent(Canned(**options), name=name)


def run(agent: Any, *args: Any, **options: Any) -> Any:
    """As `run_sync`, which leaves its event loop open."""
    return asyncio.run(agent.run(*args, **options))


def test_elsewhere_it_is_the_agent_itself(machine: Machine) -> None:
    """Outside of a workflow nothing is saved, also with a toolset that a workflow would refuse."""
    plain = shop("outside", custom_output_text="as ever")
    assert run(durable(plain), "hello").output == "as ever"
    odd = Agent(Canned(), name="odd", toolsets=[FunctionToolset([len])])
    assert run(durable(odd), "hello").output
    assert machine.runs() == []


def test_structured_output_and_a_tool_that_asks_to_be_called_again(machine: Machine) -> None:
    """An output type, and a ModelRetry: the call is saved as what it said, and the step is not tried again."""
    seen: list[int] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) < 5:
            return ModelResponse(parts=[ToolCallPart("pick", {"number": len(messages) // 2})])
        city = {"name": "Rome", "founded": "0753-04-21"}
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, city)])

    agent = Agent(FunctionModel(model), name="picky", output_type=City)

    @agent.tool_plain
    def pick(number: int) -> int:
        seen.append(number)
        if number == 0:
            raise ModelRetry("one, please")
        return number

    @workflow
    def found() -> str:
        return repr(run(durable(agent), "which city?").output)

    assert found() == "City(name='Rome', founded=datetime.date(753, 4, 21))"
    assert seen == [0, 1]
    names = [name for name, _ in machine.steps()]
    assert names == ["picky.model", "picky.tools.pick", "picky.model", "picky.tools.pick", "picky.model"]


def test_streams_come_once_they_are_saved() -> None:
    """`run_stream`, `iter` and a handler of events get what the saved response holds."""
    agent = durable(shop("streaming", custom_output_text="hello big world"))
    kinds: list[str] = []

    async def handle(context: Any, events: Any) -> None:
        kinds.extend([type(event).__name__ async for event in events])

    @workflow
    async def streamed() -> str:
        async with agent.run_stream("one") as result:
            text = "".join([part async for part in result.stream_text(delta=True)])
        await agent.run("two", event_stream_handler=handle)
        async with agent.iter("three") as run:
            nodes = [type(node).__name__ async for node in run]
        return f"{text} {nodes[-1]}"

    assert asyncio.run(streamed()) == "hello big world End"
    assert "PartStartEvent" in kinds


def test_runs_at_the_same_time_in_tasks_and_threads(machine: Machine) -> None:
    """Runs with the same prompt are kept apart, in tasks as in threads; so are their ids."""
    agent = durable(shop("many", custom_output_text="yes"))

    @workflow
    async def tasks() -> list[str]:
        results = await asyncio.gather(*(agent.run(question) for question in ("a", "a", "b")))
        return sorted({result.run_id for result in results})

    @workflow
    def threads() -> list[str]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(2) as pool:
            return sorted({future.result().run_id for future in [pool.submit(run, agent, "a") for _ in range(2)]})

    assert len(asyncio.run(tasks())) == 3
    assert len(threads()) == 2
    assert [name for name, _ in machine.steps()] == ["many.model"] * 2


def test_an_agent_that_a_tool_calls(machine: Machine) -> None:
    """In a tool that is a step it is part of that step; in one that is none its requests are steps. Both count."""
    inner = durable(shop("inner"))

    def asking(name: str) -> Agent[None, str]:
        outer = shop(name)

        @outer.tool
        async def delegate(context: RunContext[None], question: str) -> str:
            return (await inner.run(question)).output

        return outer

    whole, apart = durable(asking("whole")), durable(asking("apart"), tools={"delegate": False})

    @workflow
    def delegated(first: bool) -> int:
        with perdure.budget(tokens=100_000) as budget:
            run(whole if first else apart, "go")
        return budget.spent.tokens

    assert delegated(True) == delegated(False)
    steps = [[name for name, _ in machine.steps(run)] for run in (0, 1)]
    assert steps[0] == ["whole.model", "whole.tools.delegate", "whole.model"]
    assert steps[1] == ["apart.model", "inner.model", "apart.model"]


def test_what_is_spent_in_a_step_of_ones_own() -> None:
    """An agent that a step runs is part of that step, and what it spends counts."""
    agent = durable(shop("in-a-step"), price=lambda response: 0.5)

    @step
    def ask() -> str:
        return run(agent, "hello").output

    @workflow
    def asked() -> float | None:
        with perdure.budget(usd=10) as budget:
            ask()
        return budget.spent.usd

    assert asked() == 0.5


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    """A budget in dollars does not take a model for free whose price is not known."""
    agent = durable(shop("unpriced"), retry=Retry(attempts=3, delay=0))

    @workflow
    def asked() -> str:
        with perdure.budget(usd=10):
            return run(agent, "hello").output

    with pytest.raises(errors.UsageError, match="price of model 'test' is unknown"):
        asked()


def test_a_tool_that_fails_is_tried_again_by_its_own_policy() -> None:
    """The options of all steps hold, and those of a tool go before them."""
    calls: list[int] = []
    agent = shop("failing")

    @agent.tool_plain
    def fetch() -> str:
        calls.append(1)
        raise ConnectionError("down")

    tough = durable(agent, retry=Retry(attempts=9, delay=0), tools={"fetch": {"retry": Retry(attempts=2, delay=0)}})

    @workflow
    def fetched() -> str:
        return run(tough, "go").output

    with pytest.raises(ConnectionError):
        fetched()
    assert len(calls) == 2


def test_what_is_refused() -> None:
    """Two agents of one name, no name, an option of other steps, toolsets and models of a run: each says what to do."""
    first, second = durable(shop("twins")), durable(shop("twins"))
    other = Canned()

    @workflow
    def twins() -> str:
        return run(first, "x").output + run(second, "x").output

    @workflow
    def late_tools() -> str:
        return run(first, "x", toolsets=[FunctionToolset([len])]).output

    @workflow
    def late_model(named: bool) -> str:
        return run(durable(shop("models"), models={"other": other}), "x", model="other" if named else Canned()).output

    with pytest.raises(errors.DuplicateStep, match="two agents are named 'twins'"):
        twins()
    with pytest.raises(errors.OptionError, match="has no name"):
        durable(Agent(Canned()))
    with pytest.raises(errors.OptionError, match="no option 'ensure'"):
        durable(shop("options"), ensure=bool)  # type: ignore[call-arg]
    with pytest.raises(errors.OptionError, match="durable already"):
        durable(first)
    with pytest.raises(UserError, match="Pass them to the agent constructor"):
        late_tools()
    with pytest.raises(UserError, match="Register the instance in `models=` on `durable`"):
        late_model(False)
    assert late_model(True)


def test_another_prompt_is_drift() -> None:
    """The prompt is an input: a script that asks something else now does not get the answer to the old question."""
    agent = durable(shop("asked"))
    question, failing = ["one"], [True]

    @workflow
    def asked() -> str:
        answer = run(agent, question[0]).output
        if failing[0]:
            raise ValueError("once")
        return answer

    with pytest.raises(ValueError, match="once"):
        asked()
    question[0], failing[0] = "two", False
    with pytest.raises(errors.Drift, match="other inputs"):
        asked()
    question[0] = "one"
    assert asked()
