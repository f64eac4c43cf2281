"""What type checkers see of the adapters. Never run: `mypy --strict` and `pyright` check it."""

from __future__ import annotations

from typing import assert_type

from pydantic_ai import Agent

from perdure import Retry, workflow
from perdure.ext.pydantic_ai import DurableAgent, durable

agent = Agent("test", name="typed", output_type=int, deps_type=str)
made = durable(
    agent, retry=Retry(attempts=2), model={"breaker": "llm"}, tools={"search": {"rate": "1/s"}, "ask": False}
)
assert_type(made, DurableAgent[str, int])


@workflow
async def research(question: str) -> int:
    answer = await made.run(question, deps="x")
    assert_type(answer.output, int)
    return answer.output


durable(agent, retries=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
