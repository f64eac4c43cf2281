"""Environment variables that look like settings and are none: a misspelt one would be passed over without a word."""

from __future__ import annotations

import os
from collections.abc import Iterable

from perdure.config.script_identity import point_out
from perdure.core.process_marks import PROCESS, STEP

PREFIX = "PERDURE_"

KEYS = ("PERDURE_API_KEY", "PERDURE_ENCRYPTION_KEYS", "PERDURE_SIGNAL_KEY", "PERDURE_UI_TOKEN")
"""Keys of a cluster, of links and of the page."""

MARKS = {"PERDURE_ALERT", PROCESS, STEP}
"""What an alert's program is given, and marks of processes of perdure's: nobody sets them, so none is suggested."""

_said: set[str] = set()


def point_out_unknown(settings: Iterable[str]) -> None:
    """One line on standard error for each variable that is no setting, with the nearest one; once in a process.

    Args:
        settings: the variables of those that there are.
    """
    found = [name for name in os.environ if name.startswith(PREFIX) and name not in _said]
    if not found:
        return
    offered = {*settings, *KEYS}
    for name in sorted(set(found) - offered - MARKS):
        from difflib import get_close_matches

        _said.add(name)
        near = get_close_matches(name, offered, n=1, cutoff=0.75)
        meant = f"; did you mean {near[0]}?" if near else ""
        point_out(f"the environment variable {name} is no setting of perdure, and has no effect{meant}")
