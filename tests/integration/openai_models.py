"""Scripted models for tests of agents of the OpenAI Agents SDK, and what they answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents import Model, ModelResponse, RunConfig, Runner, Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from pydantic import BaseModel

QUIET = RunConfig(tracing_disabled=True)


class City(BaseModel):
    """What an agent is asked to answer with."""

    name: str
    founded: int


def call(name: str, id: str, **arguments: Any) -> ResponseFunctionToolCall:
    """A call of a tool."""
    return ResponseFunctionToolCall(arguments=json.dumps(arguments), call_id=id, name=name, type="function_call")


def say(text: str) -> ResponseOutputMessage:
    """An answer."""
    content = ResponseOutputText(annotations=[], text=text, type="output_text")
    return ResponseOutputMessage(id="m", content=[content], role="assistant", status="completed", type="message")


def returned(input: Any) -> list[str]:
    """What tools have returned so far, in what a model is sent."""
    items = [] if isinstance(input, str) else input
    return [item["output"] for item in items if item.get("type") == "function_call_output"]


class Scripted(Model):
    """Answers what a function makes of the outputs of tools, and of whatever else it is sent.

    Args:
        answer: takes the outputs of tools and returns items.
        tokens: what each answer takes.
    """

    model = "scripted"

    def __init__(self, answer: Callable[[list[str]], list[Any]], tokens: int = 10) -> None:
        self.answer = answer
        self.tokens = tokens
        self.requests: list[Any] = []

    async def get_response(self, *args: Any, **options: Any) -> ModelResponse:
        input = args[1] if len(args) > 1 else options["input"]
        self.requests.append(input)
        usage = Usage(requests=1, input_tokens=self.tokens - 1, output_tokens=1, total_tokens=self.tokens)
        return ModelResponse(output=self.answer(returned(input)), usage=usage, response_id=None)

    def stream_response(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        raise NotImplementedError("a stream that is saved is made of a response")


def calling(tool: str, **arguments: Any) -> Scripted:
    """A model that calls a tool once, and then says what it has returned."""
    return Scripted(lambda results: [say(f"it says {results[0]}")] if results else [call(tool, "c", **arguments)])


def saying(text: str) -> Scripted:
    """A model that says this."""
    return Scripted(lambda results: [say(text)])


def run(agent: Any, input: Any = "go", config: RunConfig = QUIET, **options: Any) -> Any:
    """As `Runner.run_sync`, which leaves its event loop open."""
    return asyncio.run(Runner.run(agent, input, run_config=config, **options))
