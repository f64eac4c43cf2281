"""Where an edited script does not fit a run that is under way: Temporal's words in the user's."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MESSAGE = re.compile(r'message: "((?:[^"\\]|\\.)*)", source')
_OTHER = re.compile(r"scheduled event '(.*?)' does not match activity (?:id|type) of activity command '(.*?)'")
_UNHANDLED = re.compile(r"HistoryEvent\(id: (\d+), (\w+)\)")


def explain(message: str, recorded: Mapping[str, str] | None = None) -> str:
    """What does not fit, at the first place where it does not.

    Args:
        message: what Temporal says.
        recorded: what the run has called, as text, by activity id and by the number of its event.
    """
    recorded = recorded or {}
    found = _MESSAGE.search(message)
    text = (found.group(1) if found else message).replace("[TMPRL1100] Nondeterminism error: ", "")
    other = _OTHER.search(text)
    if other is not None:
        was, now = other.groups()
        step, step_now = (each.rsplit(":", 2)[0] for each in (was, now))
        call = recorded.get(was, f"step {step!r}")
        if step == step_now:
            return f"the run calls {call}; the script calls step {step!r} with other inputs there"
        return f"the run calls {call}; the script calls step {step_now!r} there"
    event = _UNHANDLED.search(text)
    if event is not None:
        call = recorded.get(event.group(1), f"something else (event {event.group(1)}, {event.group(2)})")
        return f"the run calls {call}; the script does not call it"
    return text[:500]
