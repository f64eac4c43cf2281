"""`perdure.publish` and `perdure.set_progress`: what a run shows while it goes on."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from perdure.api.builtin import builtin
from perdure.api.options import checked_name
from perdure.core.callables import EMPTY
from perdure.core.records import PROGRESS, RESERVED
from perdure.core.values import codec
from perdure.engines.interface import StepContext, here
from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.engines.processes.orderer import Orderer

_value: ContextVar[Any] = ContextVar("perdure_published")
"""What a workflow publishes: no part of the inputs of the step, so that another value is no drift."""


def publish(name: str, value: object) -> None:
    """Show a value of this run to whoever asks: `perdure get RUN NAME`, or `perdure.run(id).published(name)`.

    The last value of each name is kept, also when the run has ended; reading it needs neither the script nor a process.
    In a workflow it is a step, so that a resumed run does not go back to what it published before. In a step it is
    written at once. A child run publishes for the run that it belongs to. Outside a run nothing happens.

    Args:
        name: a printable text.
        value: of a type that can be stored; at most 1,000,000 bytes, packed.

    Raises:
        OptionError: the name is no printable text, or one of perdure's own.
        NotStorable: the value cannot be stored without loss, or is too large.
        StateError: the state file cannot be written.
        EngineError: the cluster does not take it.
    """
    if _is_workflow(name, value):
        token = _value.set(value)
        try:
            _publish(name)
        finally:
            _value.reset(token)
    else:
        _write(name, value)


def _is_workflow(name: object, value: object) -> bool:
    """Is the caller a workflow's function? The value is checked, wherever it is."""
    if checked_name(name, "published value").startswith(RESERVED):
        raise OptionError(
            f"the name of a published value is {name!r}; names that begin with {RESERVED!r} are perdure's own",
            "give it another one",
        )
    _packed(str(name), value)
    context = here.get()
    return context is not None and not isinstance(context, StepContext)


class _Kept(codec.Plan):
    """How the record of a publishing has the value, for a fork that begins behind it: under its name, and as hidden."""

    def round_trip(self, value: Any) -> tuple[bytes, Any]:
        return codec.pack_value(value, owner=self.owner), None

    def unpack(self, data: bytes) -> Any:
        return None


@builtin("perdure.publish", in_place=True)
def _publish(name: str) -> Any:
    return _write(name, _value.get())


async def apublish(name: str, value: object) -> None:
    """Show a value of this run, without blocking the event loop; takes and raises what `perdure.publish` does."""
    import asyncio

    if _is_workflow(name, value):
        token = _value.set(value)
        try:
            await _apublish(name)
        finally:
            _value.reset(token)
    else:
        await asyncio.to_thread(_write, name, value)


@builtin("perdure.aio.publish", in_place=True)
async def _apublish(name: str) -> Any:
    import asyncio

    return await asyncio.to_thread(_write, name, _value.get())


for _each in (_publish, _apublish):
    _each._spec.plan = _Kept(EMPTY, owner="perdure.publish")


def set_progress(done: float, total: float | None = None, note: str = "") -> None:
    """Show how far this run is: `perdure show` and `perdure get RUN perdure.progress` have the last value.

    It is no step, and cheap: within a tenth of a second it goes with the next commit of the process. `perdure.progress`
    is for how far a step is. Outside a run nothing happens.

    Args:
        done: how much is done, in a unit of your choice.
        total: how much there is in all, in the same unit; None if it is not known.
        note: a few words to display beside it; credentials in it are hidden.

    Raises:
        OptionError: `done` or `total` is not a finite number, or `note` not a text.
        StateError: the state file cannot be written.
    """
    found = _progress(done, total, note)
    if found is not None:
        place, packed = found
        place.publish(PROGRESS, packed, soon=True)


async def aset_progress(done: float, total: float | None = None, note: str = "") -> None:
    """Show how far this run is, without blocking the event loop; takes and raises what `perdure.set_progress` does."""
    import asyncio

    found = _progress(done, total, note)
    if found is not None:
        place, packed = found
        if (
            not isinstance(here.get(), StepContext) and place.state_file is None
        ):  # a workflow on a cluster only takes note of it
            place.publish(PROGRESS, packed, soon=True)
        else:
            await asyncio.to_thread(place.publish, PROGRESS, packed, soon=True)


def _progress(done: object, total: object, note: object) -> tuple[Any, bytes] | None:
    for name, value in (("done", done), ("total", total)):
        if name == "total" and value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise OptionError(f"{name} of perdure.set_progress is {value!r}", "give a finite number")
    if not isinstance(note, str):
        raise OptionError(f"note of perdure.set_progress is {note!r}", "give a text")
    place = _place()
    if place is None:
        return None
    if note:
        from perdure.config.secrets import conceal

        note = conceal(note)
    return place, codec.pack_value([done, total, note], owner="perdure.set_progress")


def _write(name: str, value: Any) -> Any:
    """Publish it; of a workflow, give what its record has: nothing on a cluster, which has no forks."""
    place = _place()
    if place is not None:
        place.publish(name, _packed(name, value))
    return None if getattr(place, "state_file", None) is None else {name: value}


def _packed(name: str, value: Any) -> bytes:
    return codec.pack_value(value, owner=f"the published {name!r}")


def _place() -> Any:
    """What shows the values of the caller's run: its scope, or what a step reaches of it; None outside of runs."""
    context = here.get()
    if not isinstance(context, StepContext):
        return context
    orderer: Orderer | None = getattr(context, "orderer", None)  # in a process of its own
    return context.scope if orderer is None else orderer
