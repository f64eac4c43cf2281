"""What agents of the OpenAI Agents SDK do in a workflow: it works as it does elsewhere, or is refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("agents", reason="pip install 'perdure[openai-agents]'")

from agents import (
    Agent,
    LocalShellTool,
    Model,
    ModelProvider,
    RunConfig,
    Runner,
    SQLiteSession,
    handoff,
)
from tests.conftest import Machine
from tests.integration.openai_models import QUIET, City, Scripted, call, calling, run, saying

import perdure
from perdure import errors, step, workflow
from perdure.ext.openai_agents import durable


@pytest.fixture(autouse=True)
def state(machine: Machine) -> Iterator[Machine]:
    """A state file for each test."""
    return machine


def names(machine: Machine, run: int = -1) -> list[str]:
    return [name for name, _ in machine.steps(run)]


def test_elsewhere_it_is_the_agent_itself(machine: Machine) -> None:
    """Outside of a workflow nothing is saved, and nothing is refused."""
    agent = durable(Agent(name="outside", model=saying("as ever"), tools=[LocalShellTool(executor=lambda request: "")]))
    assert run(agent, session=SQLiteSession("s")).final_output == "as ever"
    assert machine.runs() == []


def test_structured_output(machine: Machine) -> None:
    """An output type is made of what is saved."""
    model = saying('{"name": "Rome", "founded": -753}')
    agent = durable(Agent(name="structured", model=model, output_type=City))

    @workflow
    def found() -> str:
        return repr(run(agent).final_output)

    assert found() == "City(name='Rome', founded=-753)"
    assert names(machine) == ["structured.model"]


def test_streams_come_once_they_are_saved() -> None:
    """`run_streamed` gives the text of the saved response, and an agent in a step streams as it does elsewhere."""
    agent = durable(Agent(name="streaming", model=saying("hello big world")))

    @workflow
    async def streamed() -> tuple[str, str]:
        result = Runner.run_streamed(agent, "go", run_config=QUIET)
        events = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]
        return "".join(each.delta for each in events if each.type == "response.output_text.delta"), result.final_output

    assert asyncio.run(streamed()) == ("hello big world", "hello big world")


def test_models_of_the_run(machine: Machine) -> None:
    """Models that the configuration of a run gives, itself or by name, are recorded like those of the agent."""

    class Shop(ModelProvider):
        def get_model(self, model_name: str | None) -> Model:
            return saying(f"I am {model_name}")

    agent = durable(Agent(name="configured", model="small"))

    @workflow
    def asked() -> list[str]:
        configs = [
            RunConfig(model_provider=Shop(), tracing_disabled=True),
            RunConfig(model_provider=Shop(), model="large", tracing_disabled=True),
            RunConfig(model=saying("I am given"), tracing_disabled=True),
        ]
        return [run(agent, config=config).final_output for config in configs]

    assert asked() == ["I am small", "I am large", "I am given"]
    assert names(machine) == ["configured.model"] * 3


def test_runs_at_the_same_time_and_in_another_agent(machine: Machine) -> None:
    """Runs with the same prompt are kept apart, also from turns that another agent has handed over."""
    clerk = durable(Agent(name="clerk", model=saying("done")))
    model = Scripted(lambda results: [call("transfer_to_clerk", "c")])
    desk = durable(Agent(name="desk", model=model, handoffs=[handoff(clerk)]))

    @workflow
    async def many() -> list[str]:
        runs = (Runner.run(agent, "go", run_config=QUIET) for agent in (clerk, desk, clerk))
        return [result.final_output for result in await asyncio.gather(*runs)]

    assert asyncio.run(many()) == ["done"] * 3
    assert sorted(names(machine)) == ["clerk.model"] * 3 + ["desk.model"]


def test_an_agent_that_a_tool_calls(machine: Machine) -> None:
    """In a tool that is a step it is part of that step; in one that is none its requests are steps. Both count."""
    inner = durable(Agent(name="asked", model=saying("yes")))

    def asking(name: str) -> Agent[Any]:
        return Agent(name=name, model=calling("ask", input="well?"), tools=[inner.as_tool("ask", "Asks.")])

    whole, apart = durable(asking("whole")), durable(asking("apart"), tools={"ask": False})

    @workflow
    def delegated(first: bool) -> tuple[str, int]:
        with perdure.budget(tokens=100_000) as budget:
            answer = run(whole if first else apart).final_output
        return answer, budget.spent.tokens

    assert delegated(True) == delegated(False) == ("it says yes", 30)
    assert names(machine, 0) == ["whole.model", "whole.tools.ask", "whole.model"]
    assert names(machine, 1) == ["apart.model", "asked.model", "apart.model"]


def test_what_is_spent_in_a_step_of_ones_own() -> None:
    """An agent that a step runs is part of that step, and what it spends counts."""
    agent = durable(Agent(name="in-a-step", model=saying("hello")), price=lambda model, response: 0.5)

    @step
    def ask() -> str:
        return str(run(agent).final_output)

    @workflow
    def asked() -> float | None:
        with perdure.budget(usd=10) as budget:
            ask()
        return budget.spent.usd

    assert asked() == 0.5


def test_what_is_refused() -> None:
    """What would be done twice, kept beside the run or told apart by nothing: each error says what to do."""
    plain = Agent(name="plain", model=saying("x"))
    first, second = durable(Agent(name="twins", model=saying("x"))), durable(Agent(name="twins", model=saying("x")))
    shell = durable(Agent(name="shell", model=saying("x"), tools=[LocalShellTool(executor=lambda request: "")]))
    handing = Agent(name="handing", model=Scripted(lambda results: [call("transfer_to_twins", "c")]), handoffs=[first])

    class Special(Agent[Any]):
        pass

    @workflow
    def runs(agents: str) -> None:
        for agent in {"twins": [first, second], "shell": [shell], "handing": [handing]}[agents]:
            run(agent)

    @workflow
    def with_session() -> None:
        run(first, session=SQLiteSession("s"))

    @workflow
    def unpriced() -> None:
        with perdure.budget(usd=1):
            run(first)

    with pytest.raises(errors.DuplicateStep, match="two agents are named 'twins'"):
        runs("twins")
    with pytest.raises(errors.UsageError, match="'local_shell' of agent 'shell' is a LocalShellTool"):
        runs("shell")
    with pytest.raises(errors.UsageError, match="has its turn in a run that is not"):
        runs("handing")
    with pytest.raises(errors.UsageError, match="given a session"):
        with_session()
    with pytest.raises(errors.UsageError, match="price of model 'scripted' is unknown"):
        unpriced()
    with pytest.raises(errors.OptionError, match="has no name"):
        durable(Agent(name="", model=saying("x")))
    with pytest.raises(errors.OptionError, match="no option 'ensure'"):
        durable(plain, ensure=bool)  # type: ignore[call-arg]
    with pytest.raises(errors.OptionError, match="durable already"):
        durable(first)
    with pytest.raises(errors.OptionError, match="of class Special"):
        durable(Special(name="special"))


def test_another_prompt_is_drift() -> None:
    """The prompt is an input: a script that asks something else now does not get the answer to the old question."""
    agent = durable(Agent(name="prompted", model=saying("yes")))
    question, failing = ["one"], [True]

    @workflow
    def asked() -> Any:
        answer = run(agent, question[0]).final_output
        if failing[0]:
            raise ValueError("once")
        return answer

    with pytest.raises(ValueError, match="once"):
        asked()
    question[0], failing[0] = "two", False
    with pytest.raises(errors.Drift, match="other inputs"):
        asked()
    question[0] = "one"
    assert asked() == "yes"
