"""An agent of the OpenAI Agents SDK loses nothing and repeats nothing but what was in flight, wherever it is killed."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents", reason="pip install 'perdure[openai-agents]'")

from agents import Agent, ModelResponse, RunConfig, Runner, function_tool
from tests.integration.agent_lives import PRICE, TOKENS, ledger, live, note, one_after_the_other, turn
from tests.integration.openai_models import Scripted, call, say

import perdure
from perdure import workflow
from perdure.ext.openai_agents import durable

CONFIG = RunConfig(tracing_disabled=True)


def answer(results: list[str]) -> list[Any]:
    """Two tools that run at the same time, then another agent, which calls a third and answers."""
    note("asked")
    match len(results):
        case 0:
            return [call("lookup", uuid.uuid4().hex, number=number) for number in range(2)]
        case 2:
            return [call("transfer_to_writer", uuid.uuid4().hex)]
        case 3:
            return [call("lookup", uuid.uuid4().hex, number=2)]
    return [say(str([result for result in results if result.startswith("result")]))]


def never_the_same(context: Any, agent: Any) -> str:
    return f"It is {datetime.now(UTC)}, and this is request {uuid.uuid4()}."


@function_tool
async def lookup(number: int) -> str:
    note(f"begun {number}")
    await turn(number)
    note(f"done {number}")
    return f"result {number}"


def price(model: str, response: ModelResponse) -> float:
    note("priced")
    return PRICE


scripted = Scripted(answer, TOKENS)
writer = Agent(name="writer", instructions=never_the_same, model=scripted, tools=[lookup])
researcher = Agent(name="researcher", instructions=never_the_same, model=scripted, tools=[lookup], handoffs=[writer])
agent = durable(researcher, price=price)


def told(result: Any, budget: Any) -> list[Any]:
    return [result.final_output, result.last_agent.name, budget.spent.tokens, budget.spent.usd]


@workflow
async def in_a_loop() -> list[Any]:
    with perdure.budget(usd=1_000) as budget:
        return told(await Runner.run(agent, "go", run_config=CONFIG), budget)


@workflow
def in_sync_code() -> list[Any]:
    with perdure.budget(usd=1_000) as budget:
        return told(Runner.run_sync(agent, "go", run_config=CONFIG), budget)


@workflow
async def in_a_stream() -> list[Any]:
    with perdure.budget(usd=1_000) as budget:
        kinds: set[str] = set()
        result = Runner.run_streamed(agent, "go", run_config=CONFIG)
        async for event in result.stream_events():
            kinds.add(event.type)
        assert "raw_response_event" in kinds
        return told(result, budget)


def asynchronous() -> Any:
    return asyncio.run(in_a_loop())


def streamed() -> Any:
    return asyncio.run(in_a_stream())


RESULTS = "['result 0', 'result 1', 'result 2']"
REQUEST = ("asked", "priced", "spent")
KINDS = {"async": asynchronous, "sync": in_sync_code, "stream": streamed}


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_event(tmp_path: Path, kind: str, stride: int) -> None:
    """Requests of two agents and three tools: what is saved is not made again, and what is spent is in the ledger."""

    def main() -> Any:
        one_after_the_other()
        return KINDS[kind]()

    whole = tmp_path / "whole"
    whole.mkdir()
    assert live(whole, main) == [RESULTS, "writer", 4 * TOKENS, 4 * PRICE]
    events = ledger(whole)
    assert events[3:8] == ["begun 0", "begun 1", "done 0", "returned 0", "done 1"]
    for number, event in list(enumerate(events, 1))[[*KINDS].index(kind) :: stride]:
        folder = tmp_path / str(number)
        folder.mkdir()
        live(folder, main, kill_at=number)
        before = ledger(folder)
        assert live(folder, main) == [
            RESULTS,
            "writer",
            *(each * ledger(folder).count("spent") for each in (TOKENS, PRICE)),
        ]
        after = ledger(folder)[number:]
        assert ledger(folder).count("asked") == 4 + (event in REQUEST)
        begun = {event for event in after if event.startswith("begun")}
        assert begun == {f"begun {tool}" for tool in range(3) if f"returned {tool}" not in before}
