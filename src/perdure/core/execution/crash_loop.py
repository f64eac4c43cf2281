"""What a crash says about the steps that were in flight, and when a step is not tried again blindly."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perdure.core.digests import blake2b
from perdure.core.execution.spec import Call
from perdure.errors import CrashLoop

WIDTH = 200
"""Bytes of a run's id or a step's name that the flight recorder keeps."""

MARGIN = 5.0
"""Seconds. A suspect that has been executed for so much longer than before its crashes has come past them."""


class CrashLine(msgspec.Struct, frozen=True):
    """The death of a process in the middle of a run, or of a call that was in flight.

    Attributes:
        text: a line about it.
        seconds: for how long the run, or the call, had been executed.
        others: how many other runs the process executed.
    """

    text: str
    seconds: float
    others: int = 0


Crashes = dict[tuple[str, bytes, int], tuple[CrashLine, ...]]
"""Name (as `fitted`), key and occurrence of a call: the crashes in a row at which it was in flight."""

Lives = dict[tuple[str, bytes, int], int]
"""Name (as `fitted`), key and occurrence of a call: how many lives of the run ended in its middle, however they did."""


def blames(deaths: Sequence[CrashLine], limit: int) -> bool:
    """Do so many deaths in a row speak against what was executed at each of them?

    Where the process executed other runs too, any of them may have ended it. Such a death counts against each as its
    share (of four runs, a quarter), until one dies that was executed alone.
    """
    if len(deaths) < limit:
        return False
    return not deaths[-1].others or sum(1 / (1 + one.others) for one in deaths) >= limit


def alone_for(crashes: Sequence[CrashLine]) -> float:
    """For how many seconds no other suspect begins beside a call that was in flight at these crashes; 0: for none.

    So the next crash counts against one suspect, and not against all that happen to run beside it. It is not as long as
    the call takes: that may end only when another suspect has (a race, a queue between them).
    """
    return max(one.seconds for one in crashes) + MARGIN if crashes else 0.0


def stuck(run: str, deaths: Sequence[CrashLine], crashes: Crashes, limit: int) -> CrashLoop | None:
    """The error of a run whose process has died so many times in a row without a new record; None if it has not.

    Where one call was in flight at all of them, that is given up, and the run goes on.
    """
    if not blames(deaths, limit) or any(blames(lines, limit) for lines in crashes.values()):
        return None
    error = CrashLoop(
        f"the process of run {run} died {len(deaths)} times in a row, and no step was saved between",
        "find out what it does to its process between the steps (memory, native code), then run it again",
    )
    for line in deaths:
        error.add_note(f"perdure: {line.text}")
    return error


def against(crashes: Crashes, call: Call) -> tuple[CrashLine, ...]:
    """The crashes in a row at which the call was in flight."""
    return crashes.get((fitted(call.spec.name), call.key, call.n), ()) if crashes else ()


def lives_cut(lives: Lives, call: Call) -> int:
    """How many lives of the run ended in the middle of the call."""
    return lives.get((fitted(call.spec.name), call.key, call.n), 0)


def fitted(text: str) -> str:
    """The text itself if it has a place in a flight record; else its beginning and a digest of the whole.

    Two long names that begin alike stay two.
    """
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= WIDTH:
        return text
    return data[: WIDTH - 36].decode("utf-8", "ignore") + "..~" + blake2b(data, digest_size=16).hexdigest()
