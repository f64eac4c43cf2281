"""The options of a schedule, checked before anything is written."""

from __future__ import annotations

import inspect
from datetime import UTC
from itertools import islice, pairwise
from typing import Any, get_args

from perdure.api.options import refuse_dash
from perdure.config.time_zones import zone
from perdure.core.cron import Ticks, parse
from perdure.core.declared_schedule import WITHIN, DeclaredSchedule
from perdure.core.durations import bound, seconds
from perdure.core.execution.identity import identify_stored
from perdure.core.execution.spec import Spec
from perdure.core.records import RESERVED
from perdure.core.tick_verdicts import Missed, Overlap
from perdure.errors import OptionError


def declared(
    spec: Spec,
    name: Any,
    when: Any,
    *,
    args: tuple[Any, ...] = (),
    tz: Any = None,
    overlap: Any = "skip",
    missed: Any = "one",
    within: Any = WITHIN,
    spread: Any = None,
    queue: Any = None,
) -> DeclaredSchedule:
    """A schedule of a workflow, checked.

    Raises:
        OptionError: an option is not valid, or the workflow cannot be scheduled.
        NotStorable: the arguments cannot be stored.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise OptionError(f"the name of a schedule is {name!r}", "give a printable text that is not empty")
    refuse_dash("the name of a schedule", name)
    if name.startswith(RESERVED):
        raise OptionError(
            f"the name of a schedule is {name!r}; names that begin with {RESERVED!r} are perdure's own",
            "give another one",
        )
    if spec.rules.once:
        raise OptionError(
            f"{spec.owner} has once=True, and a schedule gives it the same inputs at each tick",
            "leave once= out: each tick is one run anyway, also after a crash",
        )
    ticks = parse(when)
    for option, value, known in (("overlap", overlap, get_args(Overlap)), ("missed", missed, get_args(Missed))):
        if value not in known:
            raise OptionError(f"{option} is {value!r}", f"give one of: {', '.join(map(repr, known))}")
    if tz is not None:
        zone(tz)
    old = bound(within, option="within")
    apart = 0.0 if spread is None else seconds(spread, option="spread")
    if queue is not None and (not isinstance(queue, str) or not queue.strip() or not queue.isprintable()):
        raise OptionError(f"queue is {queue!r}", "give the name of a queue")
    least = _least(ticks)
    if missed == "all" and least < 60:
        raise OptionError(
            f'missed="all" with {when!r}, which is due every {least} s: an hour without a worker would be '
            f"{3600 // least:,} runs",
            'give missed="one", and see perdure.tick().missed; or a period of a minute or more',
        )
    if apart > least:
        raise OptionError(
            f"spread is {spread!r}, longer than the time between two ticks of {when!r}", "give a shorter one"
        )
    _check_callable(spec, args)
    return DeclaredSchedule(name, ticks.spec, tz, overlap, missed, old, apart, queue, args)


def _least(ticks: Ticks) -> int:
    """The fewest seconds between two ticks, of some hundreds of them."""
    if ticks.every is not None:
        return ticks.every
    found = list(islice(ticks.after(1_767_225_600, UTC), 200))
    return min((later - sooner for sooner, later in pairwise(found)), default=86400)


def _check_callable(spec: Spec, args: tuple[Any, ...]) -> None:
    """See that a worker can call the workflow with these arguments."""
    if spec.signature.is_remade:
        raise OptionError(
            f"{spec.owner} is scheduled, and uses variables of the function that it is defined in",
            "define it at the top level of its script",
        )
    try:
        inspect.signature(spec.fn).bind(*args)
    except TypeError as error:
        raise OptionError(
            f"{spec.owner} is scheduled, and cannot be called with the arguments {args!r}: {error}",
            "give its parameters defaults, or use perdure.schedule(..., args=(...))",
        ) from None
    if args:
        identify_stored(spec, args, {})
