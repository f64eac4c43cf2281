"""What steps and workflows are given and return: can it be stored, is it changed, is it awaited, does anybody look."""

from __future__ import annotations

import ast

from perdure.check import libraries
from perdure.check.names import Instance, Member
from perdure.check.project import Class, Function, all_parameters
from perdure.check.reach import Place
from perdure.check.rules.shapes import assigned_name, keyword, loads, used_as
from perdure.core.redaction.names import is_secret, is_secret_variable, words

_CONTAINERS = words(
    "builtins.list builtins.tuple builtins.dict builtins.set builtins.frozenset typing.List typing.Tuple typing.Dict"
    " typing.Set typing.Sequence typing.Iterable typing.Mapping collections.abc.Sequence collections.abc.Mapping"
    " collections.abc.Iterable typing.Optional"
)
_PAGES = words("page next sync continuation cursor pagination start device push word eos bos pad mask stop csrf")
_SIGNATURES = frozenset({"sig", "signature", "auth", "cookie", "cookies", "pat"})
"""A secret elsewhere; as a parameter more often a signal, a function's signature, or the name of a way."""
_SECRET_TYPES = frozenset({"builtins.str", "builtins.bytes", "typing.Any", "builtins.object"})
_EAGER = frozenset(
    f"builtins.{name}"
    for name in [
        "len",
        "sum",
        "sorted",
        "list",
        "print",
        "str",
        "int",
        "dict",
        "set",
        "min",
        "max",
        "any",
        "all",
        "tuple",
    ]
)
_OF_LISTS = _EAGER - {"builtins.print", "builtins.str", "builtins.int"} | {"builtins.enumerate", "builtins.zip"}


def unstorable(place: Place) -> None:
    """What a step or workflow returns, by its annotation and by what stands behind `return`."""
    function = place.function
    node = function.node
    if node is None or node is not place.owner.node:
        return
    if place.facts.of_any(ast.Yield, ast.YieldFrom):
        place.found("unstorable", node, f"{place.who} is a generator, of which nothing can be stored")
        return
    returns = None if isinstance(node, ast.Lambda) else node.returns
    named = _declared(place, returns) if returns is not None else ""
    if named:
        place.found("unstorable", returns or node, f"{place.who} is declared to return {named}, which cannot be stored")
        return
    values = [node.body] if isinstance(node, ast.Lambda) else [one.value for one in place.facts.of(ast.Return)]
    for value in values:
        for part in _parts(value):
            what = _what(place, part, returns is not None)
            if what:
                place.found("unstorable", part, f"{place.who} returns what cannot be stored: {what}")


def _declared(place: Place, annotation: ast.expr) -> str:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.copy_location(ast.parse(annotation.value, mode="eval").body, annotation)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ""
    if isinstance(annotation, ast.BinOp):  # a union with something that can be stored has values
        sides = [_declared(place, annotation.left), _declared(place, annotation.right)]
        none = any(isinstance(side, ast.Constant) for side in (annotation.left, annotation.right))
        return (sides[0] or sides[1]) if all(sides) or none else ""
    if isinstance(annotation, ast.Subscript):
        outer = place.text(annotation.value)
        if outer in _CONTAINERS:
            inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return next((found for one in inner if (found := _declared(place, one))), "")
        annotation = annotation.value
    name = place.text(annotation)
    return name.removeprefix("builtins.") if name in libraries.UNSTORABLE_CLASSES else ""


def _parts(node: ast.expr | None) -> list[ast.expr]:
    if isinstance(node, ast.IfExp):
        return [*_parts(node.body), *_parts(node.orelse)]
    if isinstance(node, ast.Tuple | ast.List):
        return [part for one in node.elts for part in _parts(one)]
    if isinstance(node, ast.Dict):
        return [part for one in node.values for part in _parts(one)]
    if isinstance(node, ast.ListComp):
        return _parts(node.elt)
    return [node] if node is not None else []


def _what(place: Place, node: ast.expr, annotated: bool) -> str:
    if isinstance(node, ast.GeneratorExp):
        return "a generator"
    if isinstance(node, ast.Lambda):
        return "a function"
    value = place.value(node)
    if isinstance(value, Function):
        return "a function" if not value.kind else ""
    if isinstance(value, Instance):
        return _instance(value.cls, annotated)
    if not isinstance(value, str) or not value.endswith("()"):
        return ""
    name = value[:-2]
    head, _, last = name.rpartition(".")
    if name in libraries.UNSTORABLE_CALLS:
        return f"what {name.removeprefix('builtins.')}() gives"
    if libraries.is_answer(value):
        return "the whole answer of an HTTP call"
    if (
        last in ("cursor", "connect", "execute")
        and libraries.outside(name if last != "cursor" else head[:-2]) == "a database"
    ):
        return "a database connection or cursor"
    if last == "cursor" and libraries.outside(head.removesuffix("()")) == "a database":
        return "a database cursor"
    if not annotated and libraries.outside(name) == "a model" and last in ("create", "generate_content", "parse"):
        return "the client's own object, whose class no annotation names"
    if last == "open" and head.startswith("pathlib.Path"):
        return "an open file"
    return ""


def _instance(cls: Class, annotated: bool) -> str:
    if "register_codec" in cls.module.text:
        return ""
    plain = not cls.node.bases and not cls.node.decorator_list
    if plain and not cls.node.keywords and cls.attributes:
        return f"an instance of {cls.node.name}, which is not a dataclass"
    if not annotated and cls.node.decorator_list:
        return f"an instance of {cls.node.name}, which no annotation names"
    return ""


def not_awaited(place: Place) -> None:
    """A call of an async step that nothing awaits."""
    for call, value in place.calls:
        step = value if isinstance(value, Function) else None
        if isinstance(value, Member) and value.name == "map":
            step = value.function
        if step is None or not step.is_async:
            continue
        if isinstance(value, Function) and not value.kind and not isinstance(place.facts.parents.get(call), ast.Expr):
            continue
        parent = place.facts.parents.get(call)
        if _dropped(place, call, parent) or (value is step and step.kind and _misused(place, call, parent)):
            place.found(
                "not-awaited", call, f"{place.who} calls async '{step.name}' and does not await it, so it never runs"
            )
    for call, value in place.calls:
        if value in ("asyncio.create_task", "asyncio.ensure_future") and isinstance(
            place.facts.parents.get(call), ast.Expr
        ):
            started = place.value(call.args[0].func) if call.args and isinstance(call.args[0], ast.Call) else None
            if isinstance(started, Function) and started.kind:
                text = (
                    f"{place.who} starts '{started.name}' as a task that nothing awaits, so the run may end before it"
                )
                place.found("not-awaited", call, text)


def _dropped(place: Place, node: ast.AST, parent: ast.AST | None) -> bool:
    while isinstance(parent, ast.Tuple | ast.List | ast.Set) or (
        isinstance(parent, ast.ListComp | ast.SetComp) and parent.elt is node
    ):
        node, parent = parent, place.facts.parents.get(parent)
    if isinstance(parent, ast.Expr):
        return True
    name = assigned_name(node, parent)
    return bool(name) and isinstance(parent, ast.Assign | ast.AnnAssign) and not _ever_read(place, name)


def _ever_read(place: Place, name: str) -> bool:
    return name in place.facts.reads


def _misused(place: Place, call: ast.Call, parent: ast.AST | None) -> bool:
    if _as_result(place, call, parent):
        return True
    name = assigned_name(call, parent)
    if not name or not isinstance(parent, ast.Assign | ast.AnnAssign):
        return False
    uses = loads(place, name, parent)
    seen = [(one, place.facts.parents.get(one)) for one in uses]
    if any(isinstance(above, ast.Await) for _, above in seen):
        return False
    return bool(seen) and all(_as_result(place, one, above) for one, above in seen)


def _as_result(place: Place, node: ast.expr, parent: ast.AST | None) -> bool:
    """Whether a coroutine is used as if it were the result."""
    if isinstance(
        parent, ast.Subscript | ast.BinOp | ast.Compare | ast.If | ast.FormattedValue | ast.BoolOp | ast.UnaryOp
    ):
        return True
    if isinstance(parent, ast.For | ast.comprehension):
        return parent.iter is node
    if isinstance(parent, ast.Attribute):
        return parent.attr not in ("send", "close", "throw", "add_done_callback")
    if isinstance(parent, ast.Call) and node in parent.args:
        called = place.value(parent.func)
        return called in _EAGER or (isinstance(called, Function) and bool(called.kind))
    return False


def unread_letters(place: Place) -> None:
    """A map whose dead letters nobody looks at, and that may have some when the run is done."""
    fails = place.owner.options.get("fail_on_dead")
    if fails is not None and not (isinstance(fails, ast.Constant) and fails.value is False):
        return
    for call, value in place.calls:
        if not isinstance(value, Member) or value.name != "map":
            continue
        choice = keyword(call, "on_failure")
        if isinstance(choice, ast.Constant) and choice.value == "raise":
            continue
        most = keyword(call, "max_dead")
        if most is not None and not (isinstance(most, ast.Constant) and most.value is None):
            continue  # how many are put up with has been decided
        node, parent = used_as(place, call)
        above = place.facts.parents.get(parent) if isinstance(parent, ast.NamedExpr) else None
        if isinstance(above, ast.Attribute) and above.attr != "results":
            unread = False
        elif isinstance(parent, ast.Expr):
            unread = True
        elif isinstance(parent, ast.Attribute):
            unread = parent.attr == "results"
        else:
            name = assigned_name(node, parent)
            unread = bool(name) and parent is not None and _only_results(place, name, parent)
        if unread:
            text = f"{place.who} never looks at the dead letters of '{value.function.name}.map'"
            place.found("unread-letters", call, text)


def batch_as_list(place: Place) -> None:
    """A map whose batch is used as if it were the list of the results."""
    for call, value in place.calls:
        if not isinstance(value, Member) or value.name != "map":
            continue
        node, parent = used_as(place, call)
        uses: list[tuple[ast.AST, ast.AST | None]] = [(node, parent)]
        if parent is not None and (name := assigned_name(node, parent)):
            uses = [(one, place.facts.parents.get(one)) for one in loads(place, name, parent)]
        if found := next((one for one, above in uses if _as_sequence(place, one, above)), None):
            text = f"{place.who} uses the batch of '{value.function.name}.map' as if it were a list, which it is not"
            place.found("batch-as-list", found, text)


def _as_sequence(place: Place, node: ast.AST, parent: ast.AST | None) -> bool:
    if isinstance(parent, ast.Subscript):
        return parent.value is node
    if isinstance(parent, ast.For | ast.comprehension):
        return parent.iter is node
    return isinstance(parent, ast.Call) and node in parent.args and place.value(parent.func) in _OF_LISTS


def _only_results(place: Place, name: str, behind: ast.AST) -> bool:
    for node in loads(place, name, behind):
        parent = place.facts.parents.get(node)
        if not isinstance(parent, ast.Attribute) or parent.attr not in ("results", "skipped"):
            return False
    outer = place.function.node
    return not (outer is not None and name in place.facts.outer)


def secret_argument(place: Place) -> None:
    """A parameter of a step or workflow that is named like a credential, or a call that is given one."""
    if place.function.node is place.owner.node:
        for arg in all_parameters(place.owner):
            if _is_secret(arg.arg) and _is_text(place, arg.annotation):
                text = f"{place.who} takes '{arg.arg}', which is stored with its inputs as it is"
                place.found("secret-argument", arg, text)
    if place.in_step:
        return
    for call, step in place.durable_calls():
        for given in (*call.args, *(one.value for one in call.keywords)):
            name = _variable(place, given)
            if name and is_secret_variable(name):
                text = f"{place.who} gives {step.kind} '{step.name}' the environment's {name}, which is stored"
                place.found("secret-argument", given, text)


def _is_secret(name: str) -> bool:
    words_of = name.lower().split("_")
    if words_of[-1] in _SIGNATURES:
        return False
    return is_secret(name) and not (len(words_of) > 1 and words_of[-1] == "token" and words_of[-2] in _PAGES)


def _is_text(place: Place, annotation: ast.expr | None) -> bool:
    if annotation is None:
        return True
    if isinstance(annotation, ast.BinOp):
        return _is_text(place, annotation.left)
    return place.text(annotation) in _SECRET_TYPES or (
        isinstance(annotation, ast.Constant) and annotation.value == "str"
    )


def _variable(place: Place, node: ast.expr) -> str:
    """The environment variable that an expression reads, also through a name."""
    if isinstance(node, ast.Name):
        for facts in (place.facts, place.module.facts):
            for binding in facts.names.get(node.id, ()):
                if binding.how == "value" and isinstance(binding.node, ast.Subscript | ast.Call):
                    return _variable(place, binding.node)
        return ""
    if isinstance(node, ast.Subscript) and place.text(node.value) == "os.environ":
        return _text(node.slice)
    if isinstance(node, ast.Call) and place.text(node.func) in ("os.getenv", "os.environ.get") and node.args:
        return _text(node.args[0])
    return ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
