"""What a function's module is called, and which file it is in, however its module was started.

The name is the one that `import` gives the module. A script that is executed is `__main__`; here it has the name that
`python -m` was given, or else that of its file below the folders that have an `__init__.py`.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

from perdure.core.callables import is_routine, unwrap
from perdure.core.execution.spec import Spec
from perdure.core.module_aliases import MAIN, aliases, known_as

INTERACTIVE = "<interactive>"
"""Stands for the file of what was typed into an interpreter, or into a notebook that has no name."""


def place(spec: Spec) -> None:
    """Set the `module` and the `file` of a function's spec."""
    namespace = _namespace(spec.fn)
    module = str(getattr(_function(spec.fn), "__module__", None) or namespace.get("__name__") or MAIN[0])
    _note_main()
    if module in MAIN:
        aliases[module] = _main_name(namespace)
    spec.module = known_as(module)
    spec.file = _source(namespace, spec.file)


def main_name() -> str:
    """The name of the script that this process executes."""
    return _main_name(vars(sys.modules[MAIN[0]])) if MAIN[0] in sys.modules else MAIN[0]


def dotted_name(file: str) -> tuple[str, str]:
    """The name of a file's module, and the folder that it is imported from: `app.job` for `app/job.py` in a package."""
    return _dotted(os.path.realpath(file) if os.path.islink(file) else os.path.abspath(file))


@cache
def _dotted(file: str) -> tuple[str, str]:
    folder, name = os.path.split(file)
    stem = os.path.splitext(name)[0]
    parts = [] if stem == "__init__" and os.path.dirname(folder) != folder else [stem]
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.dirname(folder) != folder:
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    return ".".join(parts), folder


def look_again() -> None:
    """Folders may have become packages, or have ceased to be: names are looked up anew."""
    _dotted.cache_clear()


def _note_main() -> None:
    main = sys.modules.get(MAIN[0])
    if main is not None and _noted != [main]:
        _noted[:] = [main]
        for name in MAIN:
            aliases[name] = main_name()


_noted: list[Any] = []


def _main_name(namespace: dict[str, Any]) -> str:
    named = getattr(namespace.get("__spec__"), "name", None)
    if isinstance(named, str) and named not in MAIN:
        return named
    file = namespace.get("__file__")
    return dotted_name(file)[0] if isinstance(file, str) and file else MAIN[0]


def _function(fn: Any) -> Any:
    """The function itself, below decorators, partials and bindings; a callable object's class."""
    fn = unwrap(fn)
    while not hasattr(fn, "__globals__"):
        inner = getattr(fn, "func", None) or getattr(fn, "__func__", None)
        if inner is None:
            return fn if is_routine(fn) or isinstance(fn, type) else type(fn)
        fn = unwrap(inner)
    return fn


def _namespace(fn: Any) -> dict[str, Any]:
    found = _function(fn)
    if isinstance(found, type):
        found = getattr(found.__call__, "__wrapped__", found.__call__)
    namespace: dict[str, Any] = getattr(found, "__globals__", {})
    return namespace


def _source(namespace: dict[str, Any], code_file: str) -> str:
    """The file that a function belongs to: of its module, since a cell or `exec` has none of its own."""
    file = namespace.get("__file__")
    if isinstance(file, str) and file:
        return file
    notebook = namespace.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    if namespace.get("__name__") in MAIN and isinstance(notebook, str) and os.path.isfile(notebook):
        return notebook
    return code_file if not code_file or os.path.isfile(code_file) else INTERACTIVE
