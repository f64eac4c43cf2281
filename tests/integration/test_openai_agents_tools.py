"""Tools of the OpenAI Agents SDK in a workflow: what is tried again, what is saved, and what the model is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("agents", reason="pip install 'perdure[openai-agents]'")

from agents import (
    Agent,
    AgentOutputSchema,
    WebSearchTool,
    function_tool,
)
from tests.conftest import Machine
from tests.integration.openai_models import City, Scripted, call, calling, run, saying

from perdure import Retry, errors, workflow
from perdure.ext.openai_agents import durable


@pytest.fixture(autouse=True)
def state(machine: Machine) -> Iterator[Machine]:
    """A state file for each test."""
    return machine


def names(machine: Machine, run: int = -1) -> list[str]:
    return [name for name, _ in machine.steps(run)]


def test_a_tool_is_tried_again_before_the_model_is_told(machine: Machine) -> None:
    """A failure is first the step's, by the options of the tool; then the model is told, as the SDK does it."""
    calls: list[int] = []

    @function_tool(timeout=60)
    async def fetch(number: int) -> str:
        calls.append(number)
        raise ConnectionError("down")

    tough = Retry(attempts=9, delay=0)
    options: Any = {"fetch": {"retry": Retry(attempts=2, delay=0)}}
    told = durable(Agent(name="told", model=calling("fetch", number=1), tools=[fetch]), retry=tough, tools=options)
    odd = durable(Agent(name="odd", model=calling("fetch", number="x"), tools=[fetch]), retry=tough)

    @workflow
    def fetched(first: bool) -> str:
        return str(run(told if first else odd).final_output)

    assert "An error occurred" in fetched(True)
    assert calls == [1, 1]
    assert "An error occurred" in fetched(False)
    assert machine.steps()[1] == ("odd.tools.fetch", "done")  # wrong arguments: an answer to the model, and no attempt


def test_what_tools_return(machine: Machine) -> None:
    """Plain values are saved as they are, of others the text, as the model gets it; if that is too little, an error."""

    @function_tool
    def look() -> City:
        return City(name="Rome", founded=-753)

    @function_tool
    def count() -> dict[str, int]:
        return {"towns": 3}

    last: Any = {"tool_use_behavior": "stop_on_first_tool"}
    agents = {
        name: durable(Agent(name=name, model=calling(tool.name), tools=[tool], **options))
        for name, tool, options in (
            ("text", look, {}),
            ("last", look, last),
            ("plain", count, {**last, "output_type": AgentOutputSchema(dict, strict_json_schema=False)}),
            ("lost", look, {**last, "output_type": City}),
        )
    }

    @workflow
    def looked(name: str) -> Any:
        return run(agents[name]).final_output

    assert looked("text") == "it says name='Rome' founded=-753"
    assert looked("last") == "name='Rome' founded=-753"
    assert looked("plain") == {"towns": 3}
    with pytest.raises(errors.UsageError, match="tool 'look' returns a City"):
        looked("lost")


def test_what_stops_a_workflow_is_not_told_to_the_model() -> None:
    """A tool beyond its bound is an error of the run, no text for the model."""

    @function_tool
    def search(text: str) -> str:
        return "nothing"

    model = Scripted(lambda results: [call("search", f"c{len(results)}", text="x")])
    agent = durable(Agent(name="looping", model=model, tools=[search]), tools={"search": {"max_repeats": 2}})

    @workflow
    def searched() -> Any:
        return run(agent).final_output

    with pytest.raises(errors.RepeatLimit):
        searched()


def test_a_tool_that_needs_approval(machine: Machine) -> None:
    """A run that was interrupted goes on from its state, and the tool is a step as ever."""

    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        return f"paid {amount}"

    agent = durable(Agent(name="payer", model=calling("pay", amount=5), tools=[pay]))

    @workflow
    def paid() -> Any:
        state = run(agent).to_state()
        for item in state.get_interruptions():
            state.approve(item)
        return run(agent, state).final_output

    assert paid() == "it says paid 5"
    assert names(machine) == ["payer.model", "payer.tools.pay", "payer.model"]


def test_hosted_tools_are_part_of_the_request(machine: Machine) -> None:
    """What the provider executes is no step of its own."""
    agent = durable(Agent(name="hosted", model=saying("found"), tools=[WebSearchTool()]))

    @workflow
    def asked() -> Any:
        return run(agent).final_output

    assert asked() == "found"
    assert names(machine) == ["hosted.model"]
