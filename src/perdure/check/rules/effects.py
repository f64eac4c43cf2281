"""Calls of the outside: in workflow code, without a timeout, without a look at the status, without a key."""

from __future__ import annotations

import ast

from perdure.check import libraries
from perdure.check.project import is_name
from perdure.check.reach import Place
from perdure.check.rules.clients import constructor
from perdure.check.rules.shapes import (
    assigned_name,
    bound,
    constant_text,
    is_none,
    keyword,
    loads,
    matches,
    root,
    source,
    spread,
    used_as,
)

CHECKED = frozenset(
    {"raise_for_status", "status_code", "ok", "is_success", "is_error", "status", "reason", "reason_phrase"}
)
_BOUNDING = frozenset({"timeout", "request", "send"})
SENDING = frozenset({"post", "put", "patch", "delete"})
_ASKING = (
    r"search|query|graphql|token|oauth|auth\b|login|signin|session|lookup|validat|verify|preview|estimate|embed|complet"
    r"|chat|generat|predict|infer|translat|classif|convert|calculat|analy[sz]e|api\.openai\.com|api\.anthropic\.com"
    r"|summar|rerank|moderat|detect|ocr|transcri"
)
"""In an address or the name of a function: a POST that asks for something, and leaves nothing behind."""

_READING = r"^_?(get|fetch|list|read|find|load|ask|count|check|download|poll|is|has)(_|$)"
"""The same, of the name of a function alone."""

_INSERT = r"^\s*(WITH\b.*)?INSERT\s+INTO\b"
_SAFE = r"ON\s+CONFLICT|ON\s+DUPLICATE|NOT\s+EXISTS|\bMERGE\b"
_REPLACES = r"DELETE\s+FROM|TRUNCATE|DROP\s+TABLE|CREATE\s+TEMP|:memory:"


def outside_step(place: Place) -> None:
    """Workflow code that talks to the outside."""
    for node, value in place.calls:
        if isinstance(value, str):
            kind = libraries.outside(value)
            if kind is not None:
                shown = value.replace("()", "")
                place.found(
                    "outside-step", node, f"{place.who} calls {shown}, which talks to {_named(kind)}, outside of a step"
                )


def _named(kind: str) -> str:
    return {"HTTP": "a server", "mail": "a mail server"}.get(kind, kind)


def no_timeout(place: Place) -> None:
    """A call in a step that may wait for ever, but for the 10 minutes that a step has by default."""
    if bound(place.owner, "timeout"):
        return
    for node, value in place.calls:
        if not isinstance(value, str):
            continue
        way = libraries.timeout_of(value)
        if way is None or spread(node) or _has_timeout(place, node, value, way):
            continue
        shown = value.replace("()", "")
        how_long = "for ever" if is_none(place.owner.options.get("timeout")) else "until the default of 10 minutes"
        place.found("no-timeout", node, f"{shown} has no timeout, so {place.who} may hang {how_long}")


def external_timeout(place: Place) -> None:
    """The same of a step that was made of a library's function."""
    way = libraries.timeout_of(place.owner.external)
    if way is not None and not way.default and not bound(place.owner, "timeout") and place.owner.made is not None:
        text = f"step '{place.owner.name}' has no timeout, and {place.owner.external} has none by default"
        place.found("no-timeout", place.owner.made, text)


def _has_timeout(place: Place, node: ast.Call, value: str, way: libraries.Timeout) -> bool:
    given = keyword(node, *way.keywords)
    if given is None and way.place is not None and len(node.args) > way.place:
        given = node.args[way.place]
    if given is not None:
        return not is_none(given)
    if matches(r"timeout", constant_text(place, node.args[0] if node.args else None)):
        return True
    if "setdefaulttimeout" in place.module.text:
        return True
    client = root(node.func)
    made = constructor(place, node.func) if "()" in value else None
    if made is not None and is_none(keyword(made, "timeout")):
        return False  # it was told to wait for ever
    if way.default:
        return True
    if "()" in value and isinstance(client, ast.Name):
        if client.id not in place.bounded:
            place.bounded[client.id] = _timeout_of_client(place, client.id)
        if place.bounded[client.id]:
            return True
    for above in place.facts.above(node):
        if isinstance(above, ast.Call) and place.text(above.func) in ("asyncio.wait_for", "anyio.fail_after"):
            return True
        if isinstance(above, ast.AsyncWith | ast.With) and any(
            place.text(item.context_expr) in ("asyncio.timeout()", "async_timeout.timeout()", "anyio.fail_after()")
            for item in above.items
        ):
            return True
    return False


def _timeout_of_client(place: Place, name: str) -> bool:
    """Whether `name.timeout = 5`, `name.request = partial(..., timeout=5)` or `Client(timeout=5)` bounds it."""
    for facts in (place.facts, place.module.facts):
        for node in facts.of(ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and is_name(target.value, name) and target.attr in _BOUNDING:
                    return True
        for binding in facts.names.get(name, ()):
            if isinstance(binding.node, ast.Call) and keyword(binding.node, "timeout", "default_timeout") is not None:
                return True
        for call in facts.of(ast.Call):
            if isinstance(call.func, ast.Attribute) and is_name(call.func.value, name) and _bounds(call):
                return True
    return False


def _bounds(call: ast.Call) -> bool:
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return method == "settimeout" or (method == "mount" and "timeout" in ast.unparse(call).lower())


def status_unchecked(place: Place) -> None:
    """An answer whose status nobody looks at."""
    text = place.module.text
    if "raise_for_status=True" in text or "event_hooks" in text or ".hooks" in text:
        return
    for call, value in place.calls:
        if not isinstance(value, str) or not libraries.is_answer(f"{value}()"):
            continue
        node, parent = used_as(place, call)
        if _unchecked(place, call, node, parent, libraries.verb(value)):
            said = f"{place.who} takes what {value.replace('()', '')} gives without a look at its status"
            place.found("status-unchecked", call, said)


def _unchecked(place: Place, call: ast.Call, node: ast.AST, parent: ast.AST | None, verb: str) -> bool:
    if keyword(call, "raise_for_status") is not None:
        return False
    if isinstance(parent, ast.Attribute):
        return parent.attr not in CHECKED
    if isinstance(parent, ast.Expr):
        return verb in SENDING
    name = assigned_name(node, parent)
    if not name or parent is None:
        return False
    behind = parent.optional_vars or node if isinstance(parent, ast.withitem) else parent
    found = loads(place, name, behind)
    for one in found:
        _, inner = used_as(place, one)
        if not isinstance(inner, ast.Attribute) or inner.attr in CHECKED:
            return False
    return bool(found) or verb in SENDING


def unprotected_effect(place: Place) -> None:
    """An effect that is made twice if the process dies between it and the save."""
    lines = source(place.module, place.function.node)
    if matches(r"idempoten|deterministic_id", lines):
        return
    for node, value in place.calls:
        name = value if isinstance(value, str) else ""
        what = _posts(place, node, name) or _inserts(place, node, lines) or _appends(place, node, name)
        if what:
            place.found(
                "unprotected-effect",
                node,
                f"{place.who} {what}, once more if the process dies before the step is saved",
            )


def _posts(place: Place, node: ast.Call, name: str) -> str:
    where = constant_text(place, node.args[0] if node.args else keyword(node, "url"))
    posting = libraries.outside(name) == "HTTP" and libraries.verb(name) == "post"
    if name.endswith((".request", "aiohttp.request")) and libraries.outside(name) == "HTTP":
        posting = where.upper() == "POST"
        where = constant_text(place, node.args[1] if len(node.args) > 1 else keyword(node, "url"))
    if name == "urllib.request.urlopen":
        data = keyword(node, "data") or (node.args[1] if len(node.args) > 1 else None)
        made = node.args[0] if node.args else None
        posting = data is not None and not is_none(data)
        if place.text(made) == "urllib.request.Request()":
            request, where = _request(place, made)
            posting = posting or (request is not None and _sends(request))
    if name.startswith("stripe.") and name.endswith(".create") and "checkout" not in name.lower():
        return f"calls {name.replace('()', '')} without an idempotency_key"
    function = place.function.qualname.rpartition(".")[2]
    if not posting or matches(_ASKING, where) or matches(_ASKING, function) or matches(_READING, function):
        return ""
    if any(isinstance(one.arg, type(None)) for one in node.keywords) or "key" in _headers(place, node):
        return ""
    return "sends a POST without an idempotency key"


def _headers(place: Place, node: ast.Call) -> str:
    headers = keyword(node, "headers")
    return ast.unparse(headers).lower().replace("api-key", "").replace("api_key", "") if headers is not None else ""


def _request(place: Place, node: ast.AST | None) -> tuple[ast.Call | None, str]:
    if isinstance(node, ast.Name):
        for binding in place.facts.names.get(node.id, ()):
            if isinstance(binding.node, ast.Call):
                return binding.node, constant_text(place, binding.node.args[0] if binding.node.args else None)
    if isinstance(node, ast.Call):
        return node, constant_text(place, node.args[0] if node.args else None)
    return None, ""


def _sends(request: ast.Call) -> bool:
    method = keyword(request, "method")
    if isinstance(method, ast.Constant):
        return method.value == "POST"
    return keyword(request, "data") is not None or len(request.args) > 1


def _inserts(place: Place, node: ast.Call, lines: str) -> str:
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in (
        "execute",
        "executemany",
        "fetchrow",
        "fetchval",
    ):
        return ""
    sql = constant_text(place, node.args[0] if node.args else None)
    if not matches(_INSERT, sql) or matches(_SAFE, sql) or matches(_REPLACES, lines) or _new_file(place):
        return ""
    guarded = any(isinstance(above, ast.If) for above in place.facts.above(node)) and matches(r"\bSELECT\b", lines)
    return "" if guarded else "writes with a plain INSERT"


def _new_file(place: Place) -> bool:
    """Whether the rows go to a new database file, which takes the place of the old one as a whole."""
    opened: set[str] = set()
    moved: set[str] = set()
    fresh: set[str] = set()
    for node, value in place.calls:
        first = _names_in(node.args[0]) if node.args else set()
        if isinstance(value, str) and value in ("sqlite3.connect", "duckdb.connect", "aiosqlite.connect"):
            opened |= first
        elif isinstance(value, str) and value in ("os.replace", "os.rename", "shutil.move"):
            moved |= first
        elif isinstance(value, str) and value in ("os.remove", "os.unlink"):
            fresh |= first
        elif isinstance(node.func, ast.Attribute):
            if node.func.attr == "unlink":
                fresh |= _names_in(node.func.value)
            elif node.func.attr in ("replace", "rename") and len(node.args) == 1:
                moved |= _names_in(node.func.value)
    return any(name in fresh or _is_fresh(place, name, 3) for name in opened & moved)


def _names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _is_fresh(place: Place, name: str, depth: int) -> bool:
    """Whether a name stands for a path that is another one each time."""
    for binding in place.facts.names.get(name, ()):
        calls = (place.text(one.func) for one in ast.walk(binding.node) if isinstance(one, ast.Call))
        if any(text.startswith(("tempfile.", "uuid.", "secrets.", "os.getpid")) for text in calls):
            return True
        others = _names_in(binding.node) - {name}
        if depth and any(_is_fresh(place, other, depth - 1) for other in others):
            return True
    return False


def _appends(place: Place, node: ast.Call, name: str) -> str:
    mode: ast.expr | None = None
    if name in ("builtins.open", "io.open", "aiofiles.open", "gzip.open", "codecs.open"):
        mode = node.args[1] if len(node.args) > 1 else keyword(node, "mode")
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "open":
        mode = node.args[0] if node.args else keyword(node, "mode")
    elif isinstance(node.func, ast.Attribute) and node.func.attr in ("to_csv", "to_sql", "to_json"):
        mode = keyword(node, "mode", "if_exists")
        if isinstance(mode, ast.Constant) and mode.value == "append":
            return "appends rows to a table"
    if not isinstance(mode, ast.Constant) or not isinstance(mode.value, str) or not mode.value.startswith("a"):
        return ""
    if len(mode.value) > 3 or matches(r"\.log\b|log_?(file|path)", ast.unparse(node)):
        return ""
    return "appends to a file"


def made_of_library(place: Place) -> None:
    """A step that was made of a library's function: what that returns."""
    name = place.owner.external
    if name and place.owner.made is not None and libraries.is_answer(f"{name}()"):
        text = f"step '{place.owner.name}' returns the answer of {name}, which cannot be stored"
        place.found("unstorable", place.owner.made, text)
