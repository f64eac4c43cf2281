"""What a workflow's function executes itself: its code and that of the plain functions that it calls, not its steps.

Two versions of a script are compared by it: which workflows did an edit change? Comments and places of lines are no
part of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from perdure.core.callables import unwrap
from perdure.core.digests import blake2b

MOST = 200
"""Functions that are looked into, and names that are kept."""


def body_of(fn: Any) -> dict[str, Any]:
    """The digest of what a workflow's function executes (`body`, in hexadecimal digits), and the `names` in it.

    Args:
        fn: the function.
    """
    digest, names = blake2b(digest_size=8), set[str]()
    digest.update(repr(sys.version_info[:2]).encode())
    for code in _codes(unwrap(fn)):
        digest.update(code.co_code)
        digest.update(repr((code.co_names, code.co_varnames, _constants(code))).encode("utf-8", "replace"))
        names.update(code.co_names, code.co_freevars)
    return {"body": digest.hexdigest(), "names": sorted(names)[:MOST]}


def _codes(fn: Any) -> Iterator[CodeType]:
    """The code of a function, of those inside of it, and of the plain functions of the same folder that it names."""
    if not isinstance(fn, FunctionType):
        return
    folder = os.path.dirname(fn.__code__.co_filename)
    waiting: list[tuple[CodeType, dict[str, Any]]] = [(fn.__code__, fn.__globals__)]
    seen: set[CodeType] = set()
    while waiting and len(seen) < MOST:
        code, around = waiting.pop()
        if code in seen:
            continue
        seen.add(code)
        yield code
        waiting += [(one, around) for one in code.co_consts if isinstance(one, CodeType)]
        for found in _named(code, around):
            called = unwrap(found)
            if isinstance(called, FunctionType) and _is_beside(called, folder):
                waiting.append((called.__code__, called.__globals__))


def _named(code: CodeType, around: dict[str, Any]) -> Iterator[FunctionType]:
    modules = []
    for name in code.co_names:
        value = around.get(name)
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, ModuleType):
            modules.append(vars(value))
    for names in modules:
        for name in code.co_names:
            if isinstance(value := names.get(name), FunctionType):
                yield value


def _is_beside(fn: FunctionType, folder: str) -> bool:
    file = fn.__code__.co_filename
    if not folder:  # of a notebook, or typed in
        return file.startswith("<")
    return file.startswith(folder) and "site-packages" not in file[len(folder) :]


def _constants(code: CodeType) -> list[str]:
    return [
        repr(sorted(map(repr, one)) if isinstance(one, frozenset) else one)
        for one in code.co_consts
        if not isinstance(one, CodeType)
    ]
