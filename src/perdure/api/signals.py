"""`perdure.signal`: tell a run something, from any process that finds its state file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.builtin import builtin
from perdure.api.caller import cluster_of_caller, resources_of_caller
from perdure.api.options import checked_event, checked_signal_id, checked_topic
from perdure.config.script_loader import stop_load
from perdure.core.records import RESERVED
from perdure.core.values import codec
from perdure.engines.features import Feature
from perdure.engines.interface import StepContext, here
from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.store.signals import Outcome


def signal(run: str, event: str, value: Any = None, *, key: str = "", id: str | None = None) -> Outcome:
    """Tell a run something: it is kept until a `perdure.wait_for` of that name and key takes it.

    It can be called anywhere, also before the run waits, and while it is suspended, interrupted or has failed. Signals
    of one name and key are taken in the order in which they were sent, each by one wait. Once this returns, the signal
    is on the disk, and a run that waits for it is ready to go on. In a workflow it is a step, so that a resumed run
    does not send it again. In a step give an `id`, since a step may be tried again.

    Args:
        run: the id of the run; that of a child run stands for the run that it belongs to, that of a run that was
            forked for its newest fork.
        event: the name, a printable text.
        value: what is sent, of a type that can be stored; at most 1,000,000 bytes, packed.
        key: tells signals of one name apart, as in `wait_for(event, key=...)`; a printable text.
        id: unique among the signals of this run: sent again with the same id, nothing is stored.

    Returns:
        "taken" if the run waited for it, "stored" if it is kept for a wait to come, "repeated" if the id was sent
        before.

    Raises:
        NotFound: there is no such run.
        RunHasEnded: the run has ended.
        NotStorable: the value cannot be stored without loss, or is too large.
        OptionError: a name, key or id is not a printable text, or the name is one of perdure's own.
        StateError: the state file cannot be used.
        EngineError: the cluster cannot be reached.
    """
    packed = _checked(run, event, value, key, id)
    context = here.get()
    if context is None:
        stop_load(f"sends signal {event!r}")
    elif not isinstance(context, StepContext):
        return _signal(run, event, value, key, id)
    return _send(run, event, key, packed, id)


@builtin("perdure.signal")
def _signal(run: str, event: str, value: Any, key: str, id: str | None) -> Outcome:
    return _send(run, event, key, _packed(event, value), id or _own_id())


async def asignal(run: str, event: str, value: Any = None, *, key: str = "", id: str | None = None) -> Outcome:
    """Tell a run something, without blocking the event loop; takes and raises what `perdure.signal` does."""
    import asyncio

    packed = _checked(run, event, value, key, id)
    context = here.get()
    if context is None:
        stop_load(f"sends signal {event!r}")
    elif not isinstance(context, StepContext):
        return await _asignal(run, event, value, key, id)
    return await asyncio.to_thread(_send, run, event, key, packed, id)


@builtin("perdure.aio.signal")
async def _asignal(run: str, event: str, value: Any, key: str, id: str | None) -> Outcome:
    import asyncio

    return await asyncio.to_thread(_send, run, event, key, _packed(event, value), id or _own_id())


def _own_id() -> str | None:
    """An id for what a workflow sends: the same in every life of its run."""
    context = here.get()
    return f"{RESERVED}sent:{context.idempotency_key()}" if isinstance(context, StepContext) else None


def _checked(run: object, event: object, value: Any, key: object, id: object) -> bytes:
    if not isinstance(run, str) or not run:
        raise OptionError(f"the run of a signal is {run!r}", "give the id of a run, as `perdure ps` lists it")
    checked_signal_id(id)
    checked_topic(key)
    return _packed(checked_event(event), value)


def _packed(event: str, value: Any) -> bytes:
    return codec.pack_value(value, owner=f"signal {event!r}")


def _send(run: str, event: str, key: str, packed: bytes, id: str | None) -> Outcome:
    cluster = cluster_of_caller()
    if cluster is not None:
        sent: Outcome = cluster.send_signal(run, event, key, packed, id)
        return sent
    from perdure.store import bell, signals

    found = resources_of_caller(Feature.STATE_FILE, make=False)
    store, clock = found.store, found.world.now
    stored: signals.Sent = store.journal.write((), signals.send(store, run, event, key, packed, id, clock=clock))
    bell.ring(store.path)
    return stored.outcome
