"""Errors that are swallowed or become results, clean-ups that a kill leaves out, steps and threads out of place."""

from __future__ import annotations

import ast

from perdure.check.project import Function
from perdure.check.reach import Place, places
from perdure.check.rules.shapes import broad, catches_stop, inside, keyword
from perdure.core.redaction.names import words

_CLOSING = words(
    "close unlink remove rollback quit shutdown disconnect kill terminate cancel logout rmdir rmtree cleanup"
    " flush release"
    " stop aclose delete_local wait"
)
_PROCESSES = words(
    "multiprocessing.Process multiprocessing.Pool multiprocessing.pool.Pool concurrent.futures.ProcessPoolExecutor"
    " concurrent.futures.process.ProcessPoolExecutor os.fork multiprocessing.get_context().Pool"
    " multiprocessing.get_context().Process billiard.Pool pathos.multiprocessing.ProcessingPool"
    " concurrent.futures.InterpreterPoolExecutor"
)
_FOREIGN = words(
    "_thread.start_new_thread gevent.spawn gevent.pool.Pool().spawn eventlet.spawn eventlet.GreenPool().spawn"
)
_POOLS = ("concurrent.futures.ThreadPoolExecutor()", "concurrent.futures.thread.ThreadPoolExecutor()")
_OTHER_JOINS = frozenset({"os.path.join", "builtins.str().join", "posixpath.join"})
_WAITS = frozenset({"join", "result", "shutdown", "wait", "as_completed", "gather", "exception"})


def swallowed(place: Place) -> None:
    """Any error is caught and nothing done, in a step or in a workflow."""
    for node in place.facts.of(ast.Try):
        for handler in node.handlers:
            if not broad(place, handler) or _only_closes(node.body):
                continue
            if _does_nothing(handler) and not _tries_another(place, node, handler):
                place.found("swallowed", handler, f"{place.who} catches any error here and does nothing about it")
            elif (
                not place.in_step
                and catches_stop(place, handler)
                and not _raises(handler)
                and any(
                    isinstance(one, ast.Call) and place.durable(one, place.value(one.func)) for one in inside(node.body)
                )
            ):
                text = f"{place.who} catches what stops a run (a cancel, drift, Ctrl-C) and does not raise it again"
                place.found("swallowed", handler, text)
    for item in place.facts.of_any(ast.With, ast.AsyncWith):
        for entered in item.items:
            call = entered.context_expr
            if (
                isinstance(call, ast.Call)
                and place.text(call.func) == "contextlib.suppress"
                and not _only_closes(item.body)
            ) and any(place.text(arg) in ("builtins.Exception", "builtins.BaseException") for arg in call.args):
                place.found("swallowed", item, f"{place.who} suppresses any error here and does nothing about it")


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(
        isinstance(node, ast.Pass | ast.Continue)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in handler.body
    )


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in inside(handler.body))


def _only_closes(body: list[ast.stmt]) -> bool:
    """Whether the block only puts away what may be gone already."""
    for node in body:
        value = node.value if isinstance(node, ast.Expr) else None
        call = value.value if isinstance(value, ast.Await) else value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in _CLOSING:
            return False
    return True


def _tries_another(place: Place, node: ast.Try, handler: ast.ExceptHandler) -> bool:
    """`for way in ways: try: return way(x) except Exception: continue`, with a `raise` behind the loop."""
    loop = next((one for one in place.facts.above(node) if isinstance(one, ast.For | ast.AsyncFor)), None)
    if loop is None or not any(isinstance(one, ast.Return | ast.Break) for one in inside(node.body)):
        return False
    around = place.facts.parents.get(loop)
    after = getattr(around, "body", [])
    rest = after[after.index(loop) + 1 :] if loop in after else []
    return any(isinstance(one, ast.Raise) for one in inside([*loop.orelse, *rest]))


def error_as_result(place: Place) -> None:
    """Any error in a step becomes an empty result."""
    if not place.in_step:
        return
    given = [one.value for one in place.facts.of(ast.Return)]
    useful = [value for value in given if value is not None and not _is_empty(value)]
    for node in place.facts.of(ast.Try):
        for handler in node.handlers:
            last = handler.body[-1]
            if not broad(place, handler) or _raises(handler) or not isinstance(last, ast.Return):
                continue
            nothing = last.value is None or (isinstance(last.value, ast.Constant) and last.value.value is None)
            plain = all(isinstance(one, ast.Expr | ast.Assign | ast.AugAssign) for one in handler.body[:-1])
            if plain and _is_empty(last.value) and (useful or not nothing):
                shown = ast.unparse(last.value) if last.value is not None else "None"
                place.found(
                    "error-as-result",
                    last,
                    f"{place.who} returns {shown} for any error, and that is saved as its result",
                )


def _is_empty(node: ast.expr | None) -> bool:
    if node is None:
        return True
    if isinstance(node, ast.Constant):
        return node.value in (None, "", 0, False, -1, b"", 0.0)
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return all(_is_empty(one) for one in node.elts)
    if isinstance(node, ast.Dict):
        return not node.keys
    return (
        isinstance(node, ast.Call)
        and not node.args
        and not node.keywords
        and ast.unparse(node) in ("list()", "dict()", "set()")
    )


def clean_up_in_finally(place: Place) -> None:
    """A `finally` of workflow code that calls steps."""
    for node in place.facts.of_any(ast.Try, ast.TryStar):
        for one in inside(node.finalbody):
            step = place.durable(one, place.value(one.func)) if isinstance(one, ast.Call) else None
            if step is not None:
                text = (
                    f"{place.who} calls {step.kind} '{step.name}' in `finally`: not after a kill, and at each failure"
                )
                place.found("clean-up-in-finally", one, text)
                break


def nested_step(place: Place) -> None:
    """A step in a step."""
    for call, step in place.durable_calls():
        if step.kind == "workflow":
            text = f"{place.who} calls workflow '{step.name}', which is refused inside of a step"
        else:
            text = f"{place.who} calls step '{step.name}': a plain call there, without its retry, and not saved"
        place.found("nested-step", call, text)


def thread(place: Place) -> None:
    """Processes that a workflow starts, and threads that it does not wait for."""
    waits = any(
        getattr(node.func, "attr", getattr(node.func, "id", "")) in _WAITS and value not in _OTHER_JOINS
        for node, value in place.calls
    )
    for call, value in place.calls:
        if not isinstance(value, str):
            continue
        shown = value.replace("()", "")
        if value in _PROCESSES or (value == "joblib.Parallel" and not _in_threads(call)):
            place.found("thread", call, f"{place.who} starts processes with {shown}, where a step is refused")
        elif value in _FOREIGN:
            place.found(
                "thread", call, f"{place.who} starts {shown}, which belongs to no run: steps called there are not saved"
            )
        elif value in ("threading.Thread", "threading.Timer") and not waits:
            if _may_call_steps(place, call):
                text = f"{place.who} starts a thread and does not wait for it; a step after the run's end is refused"
                place.found("thread", call, text)
        elif _is_left(place, call, value) and not waits and _may_call_steps(place, call):
            text = f"{place.who} gives a pool work and does not wait for it; a step after the run's end is refused"
            place.found("thread", call, text)


def _in_threads(call: ast.Call) -> bool:
    chosen = [keyword(call, "prefer"), keyword(call, "backend")]
    return any(isinstance(one, ast.Constant) and one.value in ("threads", "threading") for one in chosen)


def _is_left(place: Place, call: ast.Call, value: str) -> bool:
    """Whether work is given to a pool that no `with` block waits for."""
    if not value.startswith(_POOLS) or not value.endswith(".submit"):
        return False
    base = call.func.value if isinstance(call.func, ast.Attribute) else None
    if not isinstance(base, ast.Name):
        return True
    return not any(binding.how == "enter" for binding in place.facts.names.get(base.id, ()))


def _may_call_steps(place: Place, call: ast.Call) -> bool:
    """Whether what a thread is to execute calls steps, or cannot be seen."""
    target = keyword(call, "target", "function") or next(iter(call.args[-1:]), None)
    if call.args and isinstance(call.func, ast.Attribute) and call.func.attr == "submit":
        target = call.args[0]
    value = place.value(target)
    if not isinstance(value, Function):
        return value is None
    if value.kind:
        return True
    helper = Function(value.module, value.qualname, value.node, value.parent, value.owner)
    return any(one.makes_calls for one in places(helper, place.names, place.report))
