"""What a record holds of a response or of a tool's result of the OpenAI Agents SDK, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from agents import ModelResponse, Usage
from agents.items import TResponseOutputItem
from agents.tool import ToolOutputFileContent, ToolOutputImage, ToolOutputText
from agents.usage import deserialize_usage, serialize_usage
from openai._models import construct_type
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseTextDeltaEvent,
    ResponseUsage,
)

from perdure.errors import UsageError

PLAIN = {str, int, float, bool, type(None), bytes, datetime, date, time, timedelta, Decimal, UUID}
STRUCTURED = (ToolOutputText, ToolOutputImage, ToolOutputFileContent)


def dumped(response: ModelResponse) -> dict[str, Any]:
    """A response in values of JSON. Fields that the provider has not sent stay out, as they do in the next request."""
    return {
        "output": [_dumped(item) for item in response.output],
        "usage": serialize_usage(response.usage),
        "response_id": response.response_id,
        "request_id": response.request_id,
        "raw_usage": response.raw_usage,
    }


def _dumped(item: Any) -> Any:
    return item if isinstance(item, dict) else item.to_dict(mode="json", warnings=False)


def loaded(saved: dict[str, Any]) -> ModelResponse:
    """A saved response, made as the client makes it of what it receives: unknown fields and kinds are no error."""
    response = ModelResponse(
        output=[],
        usage=deserialize_usage(saved["usage"]),
        response_id=saved["response_id"],
        request_id=saved["request_id"],
        raw_usage=saved["raw_usage"],
    )
    items: list[Any] = [construct_type(value=item, type_=TResponseOutputItem) for item in saved["output"]]
    response.output = items
    return response


def plain(result: Any, tool: str, whole: bool) -> Any:
    """What is saved of a tool's result, and what the model gets: plain values as they are, of others the text.

    Args:
        result: what the tool returns.
        tool: its name.
        whole: more than the text is needed.

    Raises:
        UsageError: more is needed, and there is none.
    """
    if _is_plain(result):
        return result
    if whole:
        raise UsageError(
            f"tool {tool!r} returns a {type(result).__name__}, and more than its text is used, as the output of the "
            "run or by a schema",
            "return text, numbers, lists or dicts: model_dump() of a model, asdict() of a dataclass",
        )
    if isinstance(result, STRUCTURED):
        return result.model_dump(mode="json", exclude_none=True)
    if isinstance(result, list) and result and all(isinstance(each, STRUCTURED) or _is_plain(each) for each in result):
        return [plain(each, tool, whole) for each in result]
    return str(result)


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(key) is str and _is_plain(each) for key, each in value.items())
    return type(value) in PLAIN


def response_of(response: Response) -> ModelResponse:
    """The response at the end of a stream, with what it has used."""
    usage = response.usage
    used = Usage(
        requests=1,
        input_tokens=usage.input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        total_tokens=usage.total_tokens if usage else 0,
    )
    return ModelResponse(output=response.output, usage=used, response_id=response.id)


def events_of(response: ModelResponse) -> Iterator[Any]:
    """A response as a stream: each item with its text as one piece, and the end."""
    numbers = iter(range(1_000_000_000))
    for index, item in enumerate(response.output):
        yield ResponseOutputItemAddedEvent(
            item=item, output_index=index, sequence_number=next(numbers), type="response.output_item.added"
        )
        for part, content in enumerate(item.content if isinstance(item, ResponseOutputMessage) else ()):
            if content.type == "output_text":
                yield ResponseTextDeltaEvent(
                    content_index=part,
                    delta=content.text,
                    item_id=item.id or "",
                    logprobs=[],
                    output_index=index,
                    sequence_number=next(numbers),
                    type="response.output_text.delta",
                )
        yield ResponseOutputItemDoneEvent(
            item=item, output_index=index, sequence_number=next(numbers), type="response.output_item.done"
        )
    usage = response.usage
    whole = Response(
        id=response.response_id or "",
        created_at=0,
        model="",
        object="response",
        output=response.output,
        parallel_tool_calls=False,
        tool_choice="auto",
        tools=[],
        usage=ResponseUsage(
            input_tokens=usage.input_tokens,
            input_tokens_details=usage.input_tokens_details,
            output_tokens=usage.output_tokens,
            output_tokens_details=usage.output_tokens_details,
            total_tokens=usage.total_tokens,
        ),
    )
    yield ResponseCompletedEvent(response=whole, sequence_number=next(numbers), type="response.completed")
