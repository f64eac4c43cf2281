"""Loads a user's script as a module, without running what it does when it is run itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from perdure.errors import NotFound


def load_script(path: str | Path) -> ModuleType:
    """Import the file under the name that `import` would give it; its own folder comes first on the import path.

    Args:
        path: a Python file.

    Raises:
        NotFound: there is no such file.
        Exception: whatever the file raises when it is imported.
    """
    file = Path(path).absolute()
    if not file.is_file():
        raise NotFound(f"there is no file {path}", "name the script that defines the workflow")
    name = file.stem
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == str(file):
            return known
        name = f"{name}@{file.parent}"  # a script called json.py must not become everybody's json
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise NotFound(f"{path} is not a Python file", "name the script that defines the workflow")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
