"""A step that is tried again by perdure and inside of itself."""

from __future__ import annotations

import ast

from perdure.check import libraries
from perdure.check.reach import Place, decorated_with
from perdure.check.rules.clients import constructor
from perdure.check.rules.shapes import inside, keyword, retries, root, spread
from perdure.core.redaction.names import words

_DECORATORS = words(
    "tenacity.retry backoff.on_exception backoff.on_predicate retrying.retry retry.retry stamina.retry perdure.retry"
    " retry.api.retry aiohttp_retry.RetryClient async_retrying.retry"
)
_LOOPS = frozenset({"tenacity.Retrying()", "tenacity.AsyncRetrying()", "stamina.retry_context()"})
_ADAPTERS = frozenset({"requests.adapters.HTTPAdapter", "httpx.HTTPTransport", "httpx.AsyncHTTPTransport"})
_SLEEPS = frozenset({"time.sleep", "asyncio.sleep", "anyio.sleep"})


def double_retry(place: Place) -> None:
    """Retries of a library, a decorator, an adapter or a loop in a step that has its own."""
    if not retries(place.owner):
        return
    for decorator, name in decorated_with(place.function, place.names):
        if name in _DECORATORS:
            place.found("double-retry", decorator, f"{place.who} is tried again by {name} and by the step")
    said: set[str] = set()
    for node, value in place.calls:
        if not isinstance(value, str):
            continue
        if value in _ADAPTERS and _positive(keyword(node, "max_retries", "retries")):
            place.found("double-retry", node, f"{place.who} makes a client that tries again, as the step does")
        elif value.startswith(libraries.MODEL_CLIENTS) and libraries.outside(value) == "a model":
            client = next(one for one in libraries.MODEL_CLIENTS if value.startswith(one))
            if client not in said and _retries_by_itself(place, node):
                said.add(client)
                text = f"{client[:-2]} tries each call 2 more times, and {place.who} tries all of that again"
                place.found("double-retry", node, text)
        elif libraries.outside(value) == "HTTP" and _mounted(place, node):
            place.found("double-retry", node, f"the session that {place.who} uses tries again, as the step does")
    for loop in place.facts.of_any(ast.For, ast.While):
        if isinstance(loop, ast.For) and place.text(loop.iter) in _LOOPS:
            place.found("double-retry", loop, f"{place.who} tries again in a loop, as the step does")
        elif _is_retry(place, loop):
            place.found("double-retry", loop, f"{place.who} tries again in a loop of its own, as the step does")


def _positive(node: ast.expr | None) -> bool:
    return node is not None and not (isinstance(node, ast.Constant) and not node.value)


def _retries_by_itself(place: Place, node: ast.Call) -> bool:
    made = constructor(place, node.func)
    if made is None or spread(made):
        return False
    given = keyword(made, "max_retries")
    return given is None or _positive(given)


def _mounted(place: Place, node: ast.Call) -> bool:
    client = root(node.func)
    if not isinstance(client, ast.Name) or client.id in place.facts.names:
        return False
    for call in place.module.facts.of(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "mount" and root(call.func) is not None:
            mounted = root(call.func)
            if isinstance(mounted, ast.Name) and mounted.id == client.id and len(call.args) > 1:
                adapter = call.args[1]
                if isinstance(adapter, ast.Name):
                    bindings = place.module.facts.names.get(adapter.id, ())
                    adapter = next((b.node for b in bindings if isinstance(b.node, ast.Call)), adapter)
                return isinstance(adapter, ast.Call) and _positive(keyword(adapter, "max_retries"))
    return False


def _is_retry(place: Place, loop: ast.For | ast.While) -> bool:
    """A loop that counts or never ends, in which a success leaves it, and an error goes round once more."""
    if isinstance(loop, ast.For):
        counted = isinstance(loop.iter, ast.Call) and place.text(loop.iter.func) in (
            "builtins.range",
            "itertools.count",
        )
        if not counted:
            return False
    tries = [node for node in loop.body if isinstance(node, ast.Try)]
    sleeps = any(isinstance(node, ast.Call) and place.text(node.func) in _SLEEPS for node in inside(loop.body))
    name = loop.target.id if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name) else ""
    named = any(part in name.lower() for part in ("attempt", "retry", "try", "tries"))
    for node in tries:
        succeeds = any(isinstance(one, ast.Return | ast.Break) for one in inside([*node.body, *node.orelse]))
        rest = loop.body[loop.body.index(node) + 1 :]
        succeeds = succeeds or any(isinstance(one, ast.Return | ast.Break) for one in rest)
        again = any(
            handler.body and not isinstance(handler.body[-1], ast.Raise | ast.Return | ast.Break)
            for handler in node.handlers
        )
        if succeeds and again and (sleeps or named):
            return True
    return False
