"""What travels between the parts of the engine, as bytes of our own: Temporal stores it and never looks inside."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from perdure.core.exceptions.attempt_notes import AttemptNote
from perdure.core.exceptions.program_faults import Suspicion
from perdure.core.records import StepKind, StepStatus
from perdure.core.tick_verdicts import RunTick
from perdure.engines.runtime.deadline import Deadline
from perdure.errors import NotStorable

T = TypeVar("T")

LIMIT = 2_000_000
"""Bytes of a value. Temporal refuses payloads of more than 2 MiB; the rest is for what surrounds them."""
MOST = (1 << 21) - 2_000
"""Bytes of a payload with all that surrounds a value in it; encryption adds some."""
PORTION = 1_000_000
"""Bytes of records that are carried over at a time."""

FIRED = msgspec.msgpack.Decoder(list[tuple[int, float]])
"""Of a note about timers: their numbers, and where each fired."""

Identity = tuple[str, bytes, int]
"""Name, key and occurrence of a call."""
Owner = tuple[str, str, bytes, int]
"""The same of a wait, and before it the id of the child run whose wait it is."""


class RaceNote(msgspec.Struct, frozen=True, array_like=True):
    """What an async workflow has seen besides the ends of its calls: a timer that fired, or a call that it gave up.

    `after` is the call whose record came last before that; None at the beginning. `timer` is the timer's number,
    `beside` whether it fired after what follows that record (the end of a map). `given_up` is the call, `kind` the
    kind of its record.
    """

    after: Identity | None
    timer: int | None = None
    beside: bool = False
    given_up: Identity | None = None
    kind: StepKind = "step"


class StepCommand(msgspec.Struct, frozen=True, array_like=True):
    """One call of a step, for whichever worker makes it. `parked`: if it fails for good, it is a dead letter.

    `salt` sets its idempotency key apart from that of the same call before it was undone. `undo` is the step that would
    take it back (its module, its name), `undoes` the call that it takes back itself. `until` is when the run is
    over, by the cluster's clock. `refused` is why it cannot be made, packed: then a worker only writes that down.
    `module` and `qualname` say whose function it is; `kind` is that of its record; the name says nothing about it.
    `races` is what the workflow has seen since the command before: it may be why there is this call. `root` is what
    Temporal knows the run by that people know, `tick` what a schedule has made that for.
    """

    run_id: str
    module: str
    name: str
    key: bytes
    n: int
    input: bytes
    named: bool
    dead_after: float
    parked: bool = False
    salt: bytes = b""
    undo: tuple[str, str] | None = None
    undoes: Identity | None = None
    until: float | None = None
    refused: bytes = b""
    kind: StepKind = "step"
    qualname: str = ""
    races: list[RaceNote] = []
    root: str = ""
    tick: RunTick | None = None


class Ran(msgspec.Struct, frozen=True, array_like=True):
    """How a call ended: its packed result, or its packed fault. `tried` is what each failed attempt said.

    `late`: it was broken off because the time of the whole run was over, and has not failed by itself. `program` is how
    surely the program is at fault, as the worker saw it that made the last attempt.
    """

    ok: bool
    packed: bytes
    attempts: int
    started: float
    seconds: float
    tried: list[AttemptNote] = []
    late: bool = False
    program: Suspicion | None = None


class Progress(msgspec.Struct, array_like=True):
    """What the next attempt of a call has to know of those before; travels in Temporal's heartbeats.

    `made` counts the attempts that failed; Temporal also counts those whose worker died, and (`unread`) those that came
    to a worker without the key that they are encrypted with. `moved` is when its own code last said how far it is.
    """

    made: int = 0
    counted: int = 0
    first: float | None = None
    tried: list[AttemptNote] = []
    note: str = ""
    unread: int = 0
    moved: float = 0.0


class Carry(msgspec.Struct, frozen=True, array_like=True):
    """Which execution's records a new one begins with.

    `accepted`: none of them is held against the script. The rest is known only if the earlier execution hands over by
    itself: `kept` are the failures that are history, `exempt` the records that are not held against the script,
    `before` is how many records (the first ones) were there when the run was resumed. `races` is what the workflow has
    seen since its last command.
    """

    run: str
    accepted: bool = False
    kept: list[Identity] | None = None
    exempt: list[Identity] = []
    before: int | None = None
    races: list[RaceNote] = []


class RunCommand(msgspec.Struct, frozen=True, array_like=True):
    """A run, for whichever worker carries it. `n` is its occurrence in its parent; `script` where its file was.

    `timeout` is how many seconds it may take, `deadline` when it is over: by its parent's timeout, or by its own that
    began in an earlier execution. `ending` is what it has failed with, packed, if only clean-ups are left to be made.
    `module` and `qualname` say whose function it is. `blind` is a secret of the run, if what the cluster stores is
    encrypted: the digests of inputs in ids are made with it, so that they cannot be guessed. `places` says whose
    functions the steps are, by their names (module, qualified name), if only clean-ups are left to be made. `root` is
    the run that a child run belongs to, however deep: its id, its workflow, and what Temporal knows it by.
    It does not begin before `not_before`, in seconds since the epoch. `tick` is what a schedule has made it for.
    `queue` is the name of the queue that it was put into; empty: it was called. `heartbeat`: somebody expects to hear
    that it begins and ends. It hangs when no step has ended for `stall` seconds. Whom that is told is said by the rules
    of the workflow at `told_by` (module, qualified name), if it is a child run.
    """

    id: str
    module: str
    name: str
    key: bytes
    n: int
    input: bytes
    script: str
    dead_after: float
    events: int
    created: float
    parent: str | None = None
    carry: Carry | None = None
    timeout: float | None = None
    deadline: Deadline | None = None
    ending: bytes = b""
    qualname: str = ""
    blind: bytes = b""
    places: dict[str, tuple[str, str]] = {}
    root: tuple[str, str, str] | None = None
    not_before: float | None = None
    tick: RunTick | None = None
    queue: str = ""
    heartbeat: bool = False
    stall: float | None = None
    told_by: tuple[str, str] | None = None


class RunMemo(msgspec.Struct, frozen=True, array_like=True):
    """What can be read about a run without its history. `blind`, `queue` and `not_before` are as in its command."""

    id: str
    name: str
    key: bytes
    script: str
    created: float
    parent: str | None = None
    blind: bytes = b""
    queue: str = ""
    not_before: float | None = None


class RunFailed(msgspec.Struct, frozen=True, array_like=True):
    """How a run failed. `stopped`: perdure itself stopped it; `kept` and `exempt` are what a `Carry` needs.

    `unwound`: it has made its clean-ups, which have to be made again when it ends once more. `races` is what the
    workflow has seen since its last command.
    """

    fault: bytes
    stopped: bool
    kept: list[Identity]
    exempt: list[Identity]
    unwound: bool = False
    races: list[RaceNote] = []


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """A record of an earlier execution. `undo` is the step that would take the call back.

    Of a note about timers, the input has their numbers, each with 0, or 0.5 for `RaceNote.beside`; it stands behind the
    record after which they fired.
    """

    name: str
    key: bytes
    n: int
    status: StepStatus
    input: bytes
    output: bytes
    started: float
    seconds: float
    attempts: int
    tried: list[AttemptNote] = []
    undo: tuple[str, str] | None = None
    kind: StepKind = "step"


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A signal, as it travels: `stamp` is when it was sent, in seconds since the epoch, `value` is packed.

    No two have the same `id`, unless one is the other sent again. `sender` is another one each time.
    """

    id: str
    event: str
    topic: str
    stamp: float
    value: bytes
    sender: str = ""


class Letter(msgspec.Struct, array_like=True):
    """A signal that has come: taken by a wait, or set aside for the `reason`, if it is not "stored".

    `foreign`: another program has sent it, without an envelope; `stamp` is when it came then. `sender` is as in its
    envelope.
    """

    id: str | None
    event: str
    topic: str
    value: bytes
    stamp: float
    status: Literal["stored", "taken", "aside"] = "stored"
    reason: str = ""
    foreign: bool = False
    sender: str = ""


class OpenRow(msgspec.Struct, frozen=True, array_like=True):
    """One alternative of an open wait: what is waited for, since when and until when, in seconds since the epoch."""

    event: str | None
    topic: str
    run: str | None
    began: float
    due: float | None


class OpenWaitNote(msgspec.Struct, frozen=True, array_like=True):
    """A call waits for these."""

    name: str
    key: bytes
    n: int
    rows: list[OpenRow]


class Published(msgspec.Struct, frozen=True, array_like=True):
    """A value that a run shows under a name, packed, and since when, in seconds since the epoch."""

    name: str
    value: bytes
    stamp: float


class WaitNote(msgspec.Struct, frozen=True, array_like=True):
    """What becomes of a wait, as Temporal's history keeps it: that it begins, how it has ended, what it has set aside.

    `taken` and `aside` are numbers of letters, counted from 1 in the order in which they came. Of a call that only the
    process of its workflow can make, it says how that has ended, and what it has `published`.
    """

    opened: OpenWaitNote | None = None
    closed: Carried | None = None
    taken: int | None = None
    aside: int | None = None
    reason: str = ""
    published: Published | None = None


class RunLook(msgspec.Struct, frozen=True, array_like=True):
    """How a run stands: by what Temporal knows it; if it has ended, how, when, and with what."""

    workflow_id: str
    status: str | None = None
    stamp: float = 0.0
    output: bytes | None = None


class Portion(msgspec.Struct, frozen=True, array_like=True):
    """Some of the records, and then of the letters; `more` is where the next begin.

    `epoch` is how often the run has been cleaned up. In the last portion, `children` are the executions of unfinished
    child runs, by id, `exempt` the records that are not held against the script, `waits` the waits that are open,
    `handed` the letters that child runs have and have not taken, by whose they are, and `awaiting` the executions that
    wait for the end of the run.
    """

    records: list[Carried]
    more: int | None
    children: dict[str, str] = {}
    exempt: list[Identity] = []
    epoch: int = 0
    letters: list[Letter] = []
    waits: list[OpenWaitNote] = []
    handed: list[tuple[Owner, int]] = []
    awaiting: list[str] = []


def encode(value: msgspec.Struct) -> bytes:
    """A value as bytes."""
    return msgspec.msgpack.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """The value that `encode` wrote.

    Raises:
        msgspec.DecodeError: it wrote something else.
    """
    return msgspec.msgpack.decode(data, type=kind)


def encode_ran(ran: Ran) -> bytes:
    """How a call ended, as bytes that Temporal takes; for that, what earlier failed attempts said is left out."""
    data = encode(ran)
    left = len(ran.tried)
    while len(data) > MOST and left:
        left //= 2
        kept = [msgspec.structs.replace(note, message="", verdict=None) for note in ran.tried[: len(ran.tried) - left]]
        data = encode(msgspec.structs.replace(ran, tried=[*kept, *ran.tried[len(ran.tried) - left :]]))
    return data


def fits(data: bytes, what: str, most: int = LIMIT) -> bytes:
    """The same data, if Temporal takes them: it tries again for ever to store what is too large.

    Raises:
        NotStorable: they are too large.
    """
    if len(data) <= most:
        return data
    raise NotStorable(
        f"{what} takes {len(data):,} bytes; a Temporal cluster stores at most 2 MB at a time",
        "keep large data in a file or an object store, and pass where it is",
    )
