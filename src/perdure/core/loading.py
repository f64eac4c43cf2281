"""How modules are loaded: without looks for garbage, of which loading makes none, and without what nobody asks for."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

OF_PYTHON = 1_000
"""Python 3.12 has put away some hundred objects when it starts. A program that does so puts away all that there are,
which are thousands in a bare interpreter.
"""


class Loading:
    """Switches the collector off for as long as modules are loaded, if it is on, and counts what is there as old.

    A look goes through all that is loaded so far, and a module makes hundreds of objects that stay: a tenth of what the
    start of a script costs. Put away and taken back (`gc.freeze`, `gc.unfreeze`), objects are in the oldest generation
    without being looked at; the next look through all finds what is garbage among them.

    Args:
        module: the one that is imported. If it is loaded already nothing is switched: to ask whether a program has put
            away objects of its own counts them, which takes milliseconds where it has.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __enter__(self) -> None:
        self._switched = self._module not in sys.modules and gc.isenabled()
        if self._switched:
            gc.disable()

    def __exit__(self, *_: object) -> None:
        if not self._switched:
            return
        if gc.get_freeze_count() < OF_PYTHON:  # a program has put away nothing of its own
            gc.freeze()
            gc.unfreeze()
        gc.enable()


def load_msgspec() -> None:
    """Load msgspec without what it loads, and does not use until a program asks it for more than perdure does.

    That costs more than a bare interpreter. Nobody else may ask for these modules meanwhile: it is called where no
    other thread runs. They are not in `sys.modules` afterwards.

    - `typing_extensions`, which brings `inspect`: `typing` has the names since Python 3.11.
    - `platform`, which compiles eight expressions: `uuid` asks it for the system's name, on Linux up to 3.12.
    - `textwrap` and `msgspec.inspect`, for JSON schemas: loaded when something of them is asked for.
    """
    if "msgspec" in sys.modules:
        return
    aside: dict[str, object] = {"typing_extensions": None}  # None says that it cannot be imported
    aside |= {name: _Later(name) for name in ("textwrap", "msgspec.inspect")}
    if sys.platform == "linux" and "uuid" not in sys.modules:
        aside["platform"] = SimpleNamespace(system=lambda: "Linux")
    aside = {name: module for name, module in aside.items() if name not in sys.modules}
    sys.modules |= aside  # type: ignore[arg-type]
    try:
        import msgspec  # noqa: F401
    finally:
        for name in aside:
            del sys.modules[name]
    if "platform" in aside:
        vars(sys.modules["uuid"]).pop("platform", None)  # as in later versions of Python


class _Later(ModuleType):
    """A module that is loaded when something of it is asked for."""

    def __getattr__(self, name: str) -> object:
        return getattr(import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(import_module(self.__name__))
