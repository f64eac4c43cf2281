"""Every error of perdure's own.

PerdureError                     has .code, .what and .hint
├── UsageError                   the program or the command is wrong; nothing was run
│   ├── OptionError              an option of a decorator or a call is not valid
│   ├── DuplicateStep            two different functions run under one step name
│   ├── NotStorable              a value cannot be stored losslessly (also a TypeError)
│   │   ├── UnstorableType       ... and no value of the declared type can be; the function was not called
│   │   └── TooLarge             ... since it is larger than a record may be
│   ├── NotAwaited               a workflow has called an async step without `await`, so it was not executed
│   ├── ArgumentChanged          a step changed an argument in place, which a resumed run would not see
│   ├── BadToken                 a link was not made here
│   └── NotFound                 no such run, workflow, step or file
├── RunError                     a run cannot go on as it stands
│   ├── Drift                    a completed step is now called with other inputs
│   ├── OtherInputs              a run id is used again with other inputs
│   ├── NotDecodable             a stored value does not fit the type that the script now declares
│   ├── AlreadyRunning           the run is being executed
│   │   └── Skipped              ... by another process (uncaught at the top of a script, the exit code is 0)
│   ├── Suspended                all its branches sleep or wait (uncaught at the top of a script, the exit code is 75)
│   ├── CrashLoop                a call was in flight at several deaths of the process in a row; it is not tried again
│   ├── HasDeadLetters           raised by Batch.raise_if_dead()
│   ├── RunHasEnded              a signal is sent to a run that has ended
│   ├── AlreadyDecided           an approval was answered before, or its time is over
│   ├── LinkExpired              the time of a link is over
│   ├── Cancelled                the run was asked to end
│   ├── Released                 the worker that executes the run ends; another one goes on with it
│   └── DeadlineExceeded         the run took longer than its workflow's timeout (also a TimeoutError)
├── StepTimeout                  an attempt ran out of time (also a TimeoutError)
├── WaitTimeout                  what a workflow waited for did not come in time (also a TimeoutError)
├── EnsureFailed                 the ensure= of a step refuses what it returned
├── RepeatLimit                  a step was called with the same inputs more often than max_repeats allows
├── BudgetExceeded               a block of a workflow has spent what it may; the next step was not executed
├── BreakerOpen                  the circuit breaker of a service lets no call through
├── EngineError                  the cluster cannot be reached or used
│   └── DecryptionError          a value there is encrypted with a key that this process has not
├── ProcessDied                  an isolated attempt's process ended without an answer
├── AlertError                   an alert could not be delivered
└── StateError                   the state file cannot be used
    ├── StateCorrupt             damaged, truncated, or a checksum does not match
    ├── StateForeign             not a state file of perdure
    ├── StateNewer               written by a newer perdure
    ├── StateReadOnly            cannot be written
    ├── StateUntrusted           it, or a file or folder beside it, belongs to another user
    ├── StateReplaced            removed, replaced or emptied while this process used it
    ├── StateBusy                another process kept it locked for too long
    ├── LockLost                 another process has taken over what this one was executing
    ├── DiskFull                 no space left
    └── StateIO                  the system reported an I/O error

StopRun (a BaseException)        carries one of these out of a running workflow, past its `except Exception`
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar


class PerdureError(Exception):
    """An error of perdure's own: what happened, and what to do about it.

    Args:
        what: what happened, in the user's words.
        hint: what to do next; shown on a line of its own.

    `code` is a short text for each class, such as "bad-option"; docs/errors.md lists them.
    """

    code: ClassVar[str] = "perdure"
    what: str
    hint: str
    _exit_code: ClassVar[int | None] = None  # of a script that does not catch it, which says nothing more then

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        if self._exit_code is not None:
            _end_script_quietly()

    def __str__(self) -> str:
        text = f"{self.what} [{type(self).code}]"
        return f"{text}\n  what to do: {self.hint}" if self.hint else text


def _end_script_quietly() -> None:
    """Let the interpreter end without a traceback if an error with an exit code comes out of the top of the script."""
    before = sys.excepthook
    if getattr(before, "perdure", False):
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if isinstance(error, PerdureError) and error._exit_code is not None:
            raise SystemExit(error._exit_code)
        before(kind, error, traceback)

    hook.perdure = True  # type: ignore[attr-defined]
    sys.excepthook = hook


class UsageError(PerdureError):
    """The program or the command is wrong; nothing was run."""

    code = "usage"


class OptionError(UsageError, ValueError):
    """An option of a decorator or a call is not valid."""

    code = "bad-option"


class DuplicateStep(UsageError):
    """Two different functions run under one step name, so their results could be taken for each other's."""

    code = "duplicate-step"


class NotStorable(UsageError, TypeError):
    """A value cannot be stored losslessly."""

    code = "not-storable"


class UnstorableType(NotStorable):
    """No value of the type that a step or workflow is declared to return can be stored; it was not called."""


class TooLarge(NotStorable):
    """The arguments or the result of a call are larger than a record may be."""


class ArgumentChanged(UsageError):
    """A step changed an argument that it was given, which a resumed run would not see."""

    code = "argument-changed"


class NotAwaited(UsageError):
    """A workflow has called an async step or workflow and never awaited it, so it was not executed."""

    code = "not-awaited"


class BadToken(UsageError):
    """A link was not made for this state file, or was changed: nothing was done."""

    code = "bad-token"


class NotFound(UsageError, LookupError):
    """There is no such run, workflow, step or file."""

    code = "not-found"


class RunError(PerdureError):
    """A run cannot go on as it stands."""

    code = "run"


class Drift(RunError):
    """A completed step is now called with other inputs."""

    code = "code-drift"


class OtherInputs(RunError):
    """A run id is used again with other inputs."""

    code = "other-inputs"


class NotDecodable(RunError):
    """A stored value does not fit the type that the script now declares."""

    code = "schema-change"


class AlreadyRunning(RunError):
    """The run is already being executed."""

    code = "already-running"


class Skipped(AlreadyRunning):
    """Another process executes the run. A script that does not catch it ends with exit code 0: skipped is not failed.

    Elsewhere (in a task of an event loop, in a thread, in a scheduler's job) it is an exception like any other.
    """

    _exit_code = 0


class Suspended(RunError):
    """All branches of the run sleep, or wait for a signal or another run: it holds nothing but rows meanwhile.

    It is neither done nor failed. A script that does not catch it ends with exit code 75 (EX_TEMPFAIL: try again
    later). Elsewhere (in a task of an event loop, in a thread) it is an exception like any other.

    `run` is its id, `wake` when it goes on at the latest, in seconds since the epoch; None if that is not a question of
    time alone.
    """

    code = "suspended"
    _exit_code = 75  # EX_TEMPFAIL of sysexits.h
    run: str
    wake: float | None

    def __init__(self, what: str, hint: str = "", *, run: str = "", wake: float | None = None) -> None:
        super().__init__(what, hint)
        self.run = run
        self.wake = wake


class CrashLoop(RunError):
    """A step was in flight when the process died, several times in a row; it is not tried again by itself."""

    code = "crash-loop"


class HasDeadLetters(RunError):
    """Some items of a batch became dead letters.

    Attributes:
        returned: the workflow's function had returned (`fail_on_dead=`): there is nothing of it that was not done.
    """

    code = "dead-letters"
    returned = False


class RunHasEnded(RunError):
    """A signal is sent to a run that has ended: it was not stored."""

    code = "run-ended"


class AlreadyDecided(RunError):
    """An approval was answered before, or the run does not wait for the answer any more; nothing was changed."""

    code = "already-decided"


class LinkExpired(RunError):
    """The time of a link is over; nothing was changed."""

    code = "link-expired"


class Cancelled(RunError):
    """The run was asked to end, and it has."""

    code = "cancelled"


class Released(RunError):
    """The worker that executes a run ends: it has given the run back, and the next worker goes on with it."""

    code = "released"


class DeadlineExceeded(RunError, TimeoutError):
    """The run took longer than its workflow's timeout allows."""

    code = "deadline"


class StepTimeout(PerdureError, TimeoutError):
    """An attempt ran out of time."""

    code = "timeout"


class WaitTimeout(PerdureError, TimeoutError):
    """What a workflow waited for did not come in time.

    It is a failure like a step's: handled, it is history; if it ends the run, running it again waits anew.
    """

    code = "wait-timeout"


class EnsureFailed(PerdureError):
    """The `ensure=` of a step refuses what it returned: an attempt that failed, and is tried again like any other."""

    code = "silent-failure"


class RepeatLimit(PerdureError):
    """A step was called with the same inputs more often than its `max_repeats` allows; it was not executed."""

    code = "tool-loop"


class BudgetExceeded(PerdureError):
    """The steps of a `perdure.budget` block have spent what it may spend; the next one was not executed."""

    code = "over-budget"


class BreakerOpen(PerdureError):
    """A service keeps failing, or has asked its callers to wait; the call was not made.

    `retry_after`: seconds until a call may pass; None if that is not known.
    """

    code = "breaker-open"
    retry_after: float | None = None


class EngineError(PerdureError):
    """The cluster that runs workflows cannot be reached or used."""

    code = "engine"


class DecryptionError(EngineError):
    """A value on the cluster is encrypted with a key that this process does not have, or was changed."""

    code = "decryption"


class ProcessDied(PerdureError):
    """An isolated attempt's process ended without an answer."""

    code = "process-died"


class AlertError(PerdureError):
    """An alert could not be delivered.

    `retry_after` is how many seconds the channel asked to wait; `refused` that it refused this one message, so the
    next need not wait for it.
    """

    code = "alert"

    def __init__(self, what: str, hint: str = "", *, retry_after: float | None = None, refused: bool = False) -> None:
        super().__init__(what, hint)
        self.retry_after = retry_after
        self.refused = refused


class StateError(PerdureError):
    """The state file cannot be used."""

    code = "state"


class StateCorrupt(StateError):
    """The state file is damaged or truncated, or a checksum does not match."""

    code = "state-corrupt"


class StateForeign(StateError):
    """The file is not a state file of perdure."""

    code = "state-foreign"


class StateNewer(StateError):
    """The state file was written by a newer perdure."""

    code = "state-newer"


class StateReadOnly(StateError):
    """The state file or its folder cannot be written."""

    code = "state-read-only"


class StateUntrusted(StateError):
    """The state file, or a file or folder beside it, belongs to another user or is a link."""

    code = "state-untrusted"


class StateReplaced(StateError):
    """The state file was removed, replaced or emptied while this process used it, which saves nothing more."""

    code = "state-replaced"


class StateBusy(StateError):
    """Another process kept the state file locked for too long, or uses it with an older perdure."""

    code = "state-busy"


class LockLost(StateError):
    """Another process has taken over a run or a lock of this one, which may write to it no more."""

    code = "lock-lost"


class DiskFull(StateError):
    """No space is left on the device that holds the state file."""

    code = "disk-full"


class StateIO(StateError):
    """The system reported an I/O error on the state file."""

    code = "state-io"


class StopRun(BaseException):
    """Carries an error out of a running workflow; `error` is raised to the caller of the workflow."""

    error: PerdureError

    def __init__(self, error: PerdureError) -> None:
        super().__init__(str(error))
        self.error = error
