"""The description of the API, made from the structs that it answers: nothing in it is written twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from perdure.web.answers import Problem
from perdure.web.endpoints import PREFIX, Endpoint


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The API in the form of OpenAPI 3.1."""
    types = [Problem, *(one.answer for one in endpoints), *(one.query for one in endpoints)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    queries = {one.query.__name__ for one in endpoints}
    paths: dict[str, Any] = {}
    for number, one in enumerate(endpoints):
        query = components.get(one.query.__name__, {})
        path = f"{PREFIX}{one.path}".rstrip("/") or "/"
        paths.setdefault(path if one.path != "/" else f"{PREFIX}/", {})[one.method.lower()] = {
            "summary": one.summary,
            "parameters": [
                *(
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                    for name in re.findall(r"\{(\w+)\}", one.path)
                ),
                *(
                    {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string"}}
                    for _ in ("once",)
                    if one.method != "GET"
                ),
                *(
                    {"name": name, "in": "query", "required": name in query.get("required", ()), "schema": schema}
                    for name, schema in query.get("properties", {}).items()
                    if one.method == "GET"
                ),
            ],
            **({} if one.method == "GET" else {"requestBody": {"content": {"application/json": {"schema": query}}}}),
            "responses": {
                "200": {"description": "as asked", "content": {"application/json": {"schema": schemas[number + 1]}}},
                "default": {
                    "description": "an error",
                    "content": {"application/problem+json": {"schema": schemas[0]}},
                },
            },
        }
    paths |= _texts()
    return {
        "openapi": "3.1.0",
        "info": {"title": "perdure ui", "version": "1", "description": "Fields are only added within version 1."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in queries},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _texts() -> dict[str, Any]:
    """The addresses whose answers are no structs."""
    from perdure.web.downloads import METRICS, ExportQuery

    _, known = msgspec.json.schema_components([ExportQuery], ref_template="#/components/schemas/{name}")
    asked = known[ExportQuery.__name__]
    parts = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in ("run", "seq")]
    queries = [
        {"name": name, "in": "query", "required": name in asked["required"], "schema": schema}
        for name, schema in asked["properties"].items()
    ]
    step = f"{PREFIX}/runs/{{run}}/steps/{{seq}}"
    return {
        f"{PREFIX}/export": _text("Rows as JSON Lines, to be saved as a file", "application/jsonl", queries),
        f"{PREFIX}/events": _text("Server-sent events: `change`, with a number that grows", "text/event-stream"),
        f"{step}/input": _text("The input of a step, to be saved as a file", "application/json", parts),
        f"{step}/result": _text("The result of a step, to be saved as a file", "application/json", parts),
        "/metrics": _text("Metrics in the text format of Prometheus", METRICS),
    }


def _text(summary: str, media: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
    responses = {"200": {"description": "as asked", "content": {media: {}}}}
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}
