"""An agent of Pydantic AI loses nothing and repeats nothing but what was in flight, wherever it is killed."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="pip install 'perdure[pydantic-ai]'")

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from tests.integration.agent_lives import PRICE, TOKENS, ledger, live, note, one_after_the_other, turn

import perdure
from perdure import workflow
from perdure.ext.pydantic_ai import durable


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Three tools, one after the other or all at once, and then an answer."""
    note("asked")
    returned = [part for message in messages for part in message.parts if part.part_kind == "tool-return"]
    together = "together" in str(messages[0].parts[0])
    calls = range(3) if together else range(len(returned), len(returned) + 1)
    parts: list[Any] = [ToolCallPart("lookup", {"number": number}) for number in calls]
    if len(returned) == 3:
        parts = [TextPart(str([part.content for part in returned]))]
    return ModelResponse(parts=parts, usage=RequestUsage(input_tokens=TOKENS - 100, output_tokens=100))


inner = Agent(FunctionModel(scripted), name="killed-agent")


@inner.instructions
def never_the_same() -> str:
    return f"It is {datetime.now(UTC)}, and this is request {uuid.uuid4()}."


@inner.tool_plain
async def lookup(number: int) -> str:
    note(f"begun {number}")
    await turn(number)
    note(f"done {number}")
    return f"result {number}"


def price(response: ModelResponse) -> float:
    note("priced")
    return PRICE


agent = durable(inner, price=price)


@workflow
async def in_a_loop(question: str) -> list[Any]:
    with perdure.budget(usd=1_000) as budget:
        answer = await agent.run(question)
    return [answer.output, len(answer.new_messages()), budget.spent.tokens, budget.spent.usd]


@workflow
def in_sync_code(question: str) -> list[Any]:
    with perdure.budget(usd=1_000) as budget:
        answer = agent.run_sync(question)
    return [answer.output, len(answer.new_messages()), budget.spent.tokens, budget.spent.usd]


def main(question: str, sync: bool) -> Any:
    return in_sync_code(question) if sync else asyncio.run(in_a_loop(question))


RESULTS = "['result 0', 'result 1', 'result 2']"
REQUEST = ("asked", "priced", "spent")


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_killed_at_any_event(tmp_path: Path, sync: bool, stride: int) -> None:
    """Of 4 requests and 3 tools only the one in flight is made again; what is spent is what the ledger says."""
    whole = tmp_path / "whole"
    whole.mkdir()
    assert live(whole, lambda: main("one by one", sync))[:2] == [RESULTS, 8]
    events = ledger(whole)
    assert [events.count(each) for each in ("asked", "begun 1")] == [4, 1]
    for number, event in list(enumerate(events, 1))[int(sync) :: stride]:
        folder = tmp_path / str(number)
        folder.mkdir()
        live(folder, lambda: main("one by one", sync), kill_at=number)
        output, messages, tokens, usd = live(folder, lambda: main("one by one", sync))
        done = ledger(folder)
        assert (output, messages) == (RESULTS, 8)
        assert done.count("asked") == 4 + (event in REQUEST)
        assert sum(each.startswith("begun") for each in done) == 3 + (event not in REQUEST)
        assert tokens == TOKENS * done.count("spent")
        assert usd == PRICE * done.count("spent")


def together() -> Any:
    one_after_the_other()
    return main("together", False)


@pytest.mark.parametrize("stride", [2, pytest.param(1, marks=pytest.mark.long)])
def test_killed_in_the_midst_of_parallel_tools(tmp_path: Path, stride: int) -> None:
    """Of tools that run at the same time those that are saved are not called again, and each has its own result."""
    whole = tmp_path / "whole"
    whole.mkdir()
    live(whole, together)
    events = ledger(whole)
    assert events[3:8] == ["begun 0", "begun 1", "begun 2", "done 0", "returned 0"]
    for number in range(4, len(events) + 1, stride):
        folder = tmp_path / str(number)
        folder.mkdir()
        live(folder, together, kill_at=number)
        before = ledger(folder)
        output, _, tokens, _ = live(folder, together)
        again = {event for event in ledger(folder)[number:] if event.startswith("begun")}
        assert again == {f"begun {tool}" for tool in range(3) if f"returned {tool}" not in before}
        assert output == RESULTS
        assert tokens == TOKENS * ledger(folder).count("spent")
        assert ledger(folder).count("asked") == 2 + (before[-1] in REQUEST)
