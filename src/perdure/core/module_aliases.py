"""Modules that go by another name than the one they have in this process; `config/module_names.py` finds them out."""

from __future__ import annotations

MAIN = ("__main__", "__mp_main__")
"""What Python calls the script that it executes."""

aliases: dict[str, str] = {}
"""By the name in this process: the name that `import` would give the module."""


scripts: set[str] = {*MAIN}
"""The names in this process of the scripts that are executed, or were loaded to be: their files may be renamed."""


def known_as(module: str) -> str:
    """The name that `import` gives a module; a file that was loaded beside another of its name carries its path."""
    return aliases.get(module, module).partition("@")[0]
