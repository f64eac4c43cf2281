"""What modules are loaded in: without looks for garbage, of which loading makes none."""

from __future__ import annotations

import gc
import sys


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
        if not gc.get_freeze_count():  # a program has put away nothing of its own
            gc.freeze()
            gc.unfreeze()
        gc.enable()
