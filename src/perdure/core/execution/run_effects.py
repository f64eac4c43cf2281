"""What the life of a run asks an engine to do beside what its calls ask, and what the engine answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.execution.effects import Effect
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import Row, RunRecord, StepRecord

if TYPE_CHECKING:
    from perdure.core.execution.root_cause import RootCause


class Start(msgspec.Struct, frozen=True, gc=False):
    """What to run: what to look for, and what to write if nothing is found.

    `id` is the run's name if the caller gave one (`named`), a child's derived one, or None; `fresh` is the id that a
    new run gets then. `rid` names a known run to be resumed, whatever its inputs. `once`: a run of these inputs that is
    done will do. A suspended run that may go on within `patience` seconds is waited for. `attach`: a run that is under
    way will do too, and its end is waited for elsewhere (`UnderWay`); `apart`: so will one that is suspended.
    `defaults` of the workflow are written down with a new run. One whose process died while it came to
    an end is gone on with once that is written, if `again`.
    `ends`: the run is taken to be ended, not to be gone on with.
    `line` is the command line of the script that asks, packed: empty if it was given nothing, None if it is no script.
    """

    script: str
    path: str
    workflow: str
    key: bytes
    input: bytes
    fresh: str
    id: str | None = None
    named: bool = False
    parent: int | None = None
    rid: int | None = None
    lock: str | None = None
    once: bool = False
    patience: float = 60.0
    attach: bool = False
    apart: bool = False
    defaults: dict[str, bytes] | None = None
    again: bool = True
    line: bytes | None = None
    ends: bool = False


class HolderInfo(msgspec.Struct, frozen=True):
    """Who holds a run: process id, host, and since when (seconds since the epoch)."""

    token: str
    pid: int
    host: str
    started: float


class Held(msgspec.Struct, frozen=True):
    """The run is taken. `by` is None if this very process has it; `last` is the newest record.

    `letter` is the number of a dead letter of it that is being re-driven: that is why.
    """

    run: RunRecord
    by: HolderInfo | None
    last: StepRecord | None
    letter: int = 0


class Locked(msgspec.Struct, frozen=True):
    """The workflow's lock is taken. `by` is None if a block of this very process has it; `run` is the one that has it.

    `since` is in seconds since the epoch; `last` is the newest record of that run.
    """

    name: str
    by: HolderInfo | None
    since: float = 0.0
    run: RunRecord | None = None
    last: StepRecord | None = None


class Finished(msgspec.Struct, frozen=True):
    """The run under that id has ended before."""

    run: RunRecord


class Other(msgspec.Struct, frozen=True):
    """The run under that id has other inputs."""

    run: RunRecord


class Superseded(msgspec.Struct, frozen=True):
    """The run that was named is unfinished, and a fork stands on what it has done."""

    run: RunRecord
    by: RunRecord


class Asleep(msgspec.Struct, frozen=True):
    """The run is suspended, and nothing of what it waits for has come."""

    run: RunRecord


class Taken(msgspec.Struct, frozen=True):
    """The run is ours: new, or to be resumed. `died` is the number of the process that died while it executed it.

    `said`: what is to be said of undoings that had failed, a line each.
    """

    run: RunRecord
    resumed: bool
    died: int | None = None
    said: tuple[str, ...] = ()


class Begin(msgspec.Struct, frozen=True):
    """Find or make the run and take it, in one transaction. Answer: one of `Answer`."""

    start: Start


class StandBy(msgspec.Struct, frozen=True):
    """Another process has the run or its lock: say so the `first` time, and wait some seconds. Answer: None."""

    workflow: str
    reason: str
    seconds: float
    first: bool


class Recall(msgspec.Struct, frozen=True):
    """Read what the run has done. Answer: a History. `died`, `said` as in Taken; `spec` if it is to be gone on with.

    `before`: what is to be said of a run that was ended for this one to begin, or to go on, a line each.
    """

    run: RunRecord
    resumed: bool
    died: int | None = None
    said: tuple[str, ...] = ()
    spec: Spec | None = None
    before: tuple[str, ...] = ()


class Body(msgspec.Struct, frozen=True):
    """Call the workflow's function, with this history behind its steps. Answer: an Outcome."""

    call: Call
    run: RunRecord
    history: History


class Apart(msgspec.Struct, frozen=True):
    """Carry the `life` of the run of that id, which is none of the caller's family.

    Answer: an Ended or a Failed; None: somebody else executes it, or it is suspended.
    """

    id: str
    call: Call
    life: Any


class UndoableChild(msgspec.Struct, frozen=True):
    """A child run that has something to be undone; `seqs` are the numbers of the records that stand on it.

    There may be none, since the child, or the parent, was left before one was written. `place`: when it is undone, as
    if it were the record of that number. `done`: the child has ended.
    """

    start: Start
    place: float
    seqs: tuple[int, ...] = ()
    done: bool = True


class Unwind(msgspec.Struct, frozen=True):
    """Put away what the run has left, `ok` or not, at its `final` end or not: `cleanup.unwind`.

    Answer: what was not put away, a line each. What the run has failed with, packed, and what that takes back: for an
    engine that may have to stop in the middle. `children` are to be undone with it. `ending` is the `Ending`, packed.
    """

    run: RunRecord
    history: History
    ok: bool
    final: bool
    fault: bytes = b""
    cause: RootCause | None = None
    children: tuple[UndoableChild, ...] = ()
    ending: bytes = b""


class Undoable(msgspec.Struct, frozen=True):
    """Which child runs of a run are done or unfinished, and have something to be undone at this end, `final` or not?

    Answer: a tuple of UndoableChild.
    """

    run: RunRecord
    final: bool


class Reopen(msgspec.Struct, frozen=True):
    """A child run that is done is to be undone: it is unfinished from here on, and its records in the parent gone.

    `again`: the parent may be gone on with, and makes it again then; what it had deferred is due at its next end, too.
    `ending`: how it is to end, packed; noted in it, so that whoever goes on after a death undoes the rest first.

    Answer: was it done still?
    """

    run: RunRecord
    child: UndoableChild
    again: bool
    ending: bytes


class Unended(msgspec.Struct, frozen=True):
    """Which child runs were left unfinished, or with something to be put away, and are not gone on with any more?

    `undoing`: only those whose undoing was broken off.

    Answer: for each, a Start, and what it has failed with, packed, if it has.
    """

    run: RunRecord
    undoing: bool = False


class Asked(msgspec.Struct, frozen=True):
    """Has the end of the run been asked for? Answer: a bool."""

    run: RunRecord


class RecallEnding(msgspec.Struct, frozen=True):
    """What does the note of that number say of how the run is to end? Answer: an `Ending`, packed."""

    run: RunRecord
    seq: int


class Forget(msgspec.Struct, frozen=True):
    """Take these records back, and hold the `aftermath` no longer against the script. Answer: None."""

    run: RunRecord
    seqs: tuple[int, ...]
    aftermath: tuple[int, int] | None = None


class End(msgspec.Struct, frozen=True):
    """The run has ended: write that down, with `rows`, without the records in `forget`; let it go.

    `stopped` is what is known of its failure, packed. `left` are number and step of completed calls of before that a
    run which is done has not made again, though nothing undid them.

    Answer: None, or the StateError that kept it from being written.
    """

    run: RunRecord
    status: str
    output: bytes
    rows: tuple[Row, ...] = ()
    forget: tuple[int, ...] = ()
    aftermath: tuple[int, int] | None = None
    stopped: bytes | None = None
    left: tuple[tuple[int, str], ...] = ()


class Ending(msgspec.Struct, frozen=True, array_like=True):
    """How a run is to end once it is cleaned up: what `End` says then. It is kept while undoing goes on."""

    status: str
    output: bytes = b""
    forget: tuple[int, ...] = ()
    aftermath: tuple[int, int] | None = None
    stopped: bytes | None = None


RunEffect = (
    Effect
    | Begin
    | StandBy
    | Recall
    | Body
    | Unwind
    | Undoable
    | Reopen
    | Unended
    | Asked
    | RecallEnding
    | Forget
    | End
)


NotTaken = Held | Locked | Finished | Other | Superseded | Asleep
Answer = Taken | Held | Locked | Finished | Other | Superseded | Asleep
