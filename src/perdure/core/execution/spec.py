"""Spec: a step or a workflow as its decorator describes it; Call: one call of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import msgspec

from perdure.core.callables import EMPTY, is_coroutine_function, is_routine, signature_of, unwrap
from perdure.core.execution.call_extras import Extras
from perdure.core.execution.inputs import Signature
from perdure.core.execution.spending import Ledger, UnderWay
from perdure.core.policies.failure_rules import NO_RULES
from perdure.core.policies.failure_rules import Rules as FailureRules
from perdure.core.policies.retry import ONCE, Retry
from perdure.core.records import Place, StepKind
from perdure.core.values import codec
from perdure.core.values.hints import hints_of, scope_of
from perdure.errors import NotDecodable

if TYPE_CHECKING:
    from perdure.core.declared_schedule import DeclaredSchedule
    from perdure.core.policies.guard import Guard


InputKept = Literal["whole", "digest"]
NEVER = sys.maxsize
"""Bytes: no result is as large."""

NOT_STUBBED: Final = object()
"""What a stub returns if the step itself is to be executed."""

IfLocked = Literal["skip", "wait", "fail"]

OWN_LOCK = ""
"""The lock of `lock=True`: of this workflow of this script, whose name follows from the state file."""


class Rules(msgspec.Struct, frozen=True):
    """The options of a workflow that hold for a whole run.

    Attributes:
        timeout: seconds that a run may take; None: no bound.
        lock: the name of the lock that a run takes.
        if_locked: what a call does if the run or the lock is taken.
        park_after: failures after which a run becomes a dead letter.
        once: the same inputs are run to their end once.
        fail_on_dead: so many dead letters fail a run; None: none do.
        alerts: addresses of alert targets; None: those of the settings.
        heartbeat: the URL that gets a ping from each run.
        stall: seconds without progress after which a run counts as hanging.
        queue: the queue that its runs stand in when they are enqueued; None: the default one.
    """

    timeout: float | None = None
    lock: str | None = None
    if_locked: IfLocked = "skip"
    park_after: int | None = None
    once: bool = False
    fail_on_dead: int | None = None
    alerts: tuple[str, ...] | None = None
    heartbeat: str | None = None
    stall: float | None = None
    queue: str | None = None


def _no_rules() -> FailureRules:
    return NO_RULES


class Spec:
    """A function that perdure calls: a step's or a workflow's.

    Args:
        kind: "step" or "workflow", for messages.
        fn: the function itself, sync or async.
        name: its name in the state file.
        retry: when to try again.
        timeout: seconds that one attempt may take, or None for no bound.
        explicit: the timeout was asked for, rather than being the default net.
        isolate: run each attempt in a process of its own.
        key: takes the arguments and returns what identifies the call, instead of the arguments themselves.

    `is_method` and `receiver` (the class) are set when it is found in a class, or called on an instance of the
    class that its name says it is defined in (`in_class`: a decorator may hide it there), `locals` (names that
    annotations may use) when it is defined in a function, `unknown` (what its function is bound to and no record
    distinguishes) when it is made in one. `record_kind` is that of the records of its calls. `park`: a call that
    fails for good becomes a dead letter; `undo`: the step that reverts a call; `rules`: the options of a workflow;
    `guard`: what its calls have to pass; `schedules`: when a workflow runs by itself; `failures`: the rules that
    classify its failures, asked for at the first one; `ensure` looks at a result before it is saved; `max_repeats`:
    so often at most it is called with the same inputs in a run; `input_kept`: what of the inputs is kept once a
    call is done; results of more bytes than `artifact_above` lie in files of their own; `workers`: the processes of
    a map, which make its attempts; `on_unlike` is told of results that are not what is declared; `stub`: what a
    test executes instead, which may say `NOT_STUBBED`; `in_place`: only the process of the workflow has what they
    need. `module` is the name that its module has when it is imported, `file` the source file;
    config/module_names.py sets both. `place` says whose function it is. A clean-up has another `name` in the
    journal than the step that it calls is `defined_as`.
    """

    def __init__(
        self,
        kind: str,
        fn: Callable[..., Any],
        name: str,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        explicit: bool = False,
        isolate: bool = False,
        key: Callable[..., Any] | None = None,
    ) -> None:
        self.kind = kind
        self.fn = fn
        self.name = name
        self.defined_as = name
        self.owner = f"{kind} {name!r}"
        called = fn if is_routine(fn) else getattr(fn, "func", type(fn).__call__)
        self.is_async = is_coroutine_function(called)
        self.retry = retry or ONCE
        self.timeout = timeout
        self.explicit = explicit
        self.isolate = isolate
        self.workers: Any = None
        self.stub: Callable[[tuple[Any, ...], dict[str, Any]], Any] | None = None
        self.key = key
        self.record_kind: StepKind = "step"
        self.storable = False
        self.park = False
        self.in_place = False
        self.undo: Spec | None = None
        self.rules = Rules()
        self.schedules: list[DeclaredSchedule] = []
        self.guard: Guard | None = None
        self.ensure: Callable[[Any], Any] | None = None
        self.max_repeats: int | None = None
        self.input_kept: InputKept = "whole"
        self.artifact_above = NEVER
        self.failures: Callable[[], FailureRules] = _no_rules
        self.on_unlike: Callable[[str], None] | None = None
        self.is_method = False
        self.receiver: Any = EMPTY
        self.locals: dict[str, Any] = {}
        self.unknown: Any = None
        self.signature = Signature(fn, self.owner)
        code = getattr(unwrap(fn), "__code__", None)
        self.file = code.co_filename if code is not None else ""
        self.module = str(getattr(fn, "__module__", None) or "__main__")
        self.qualname = str(getattr(fn, "__qualname__", None) or type(fn).__qualname__)
        around = self.qualname.rpartition(".")[0]
        self.in_class = around != "" and not around.endswith("<locals>")

    def find_receiver(self, first: Any) -> None:
        """Is it a method, called on this instance of the class that its name says it is defined in?"""
        around = self.qualname.rpartition(".")[0]
        for base in type(first).__mro__:
            if base.__qualname__ == around and base.__module__ == self.fn.__module__:
                self.is_method, self.receiver = True, base

    @property
    def place(self) -> Place:
        """Module and qualified name of the function."""
        return Place(self.module, self.qualname)

    def arguments(self, given: bytes, reader: codec.InputReader | None = None) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call, of its packed inputs.

        Args:
            given: the inputs.
            reader: what `input_reader` gave, for many calls.

        Raises:
            NotDecodable: they cannot be loaded, or were given to a closure over other values.
        """
        args, kwargs = (self.input_reader() if reader is None else reader).read(given)
        closure = self.signature.closure
        if closure is None:
            return args, kwargs
        own = closure.take_out(kwargs)
        if own is None:
            raise NotDecodable(
                f"{self.owner} was called as {codec.describe_inputs(given)}, and is a closure over other values now",
                "call it from its workflow, or make the variables that it closes over parameters",
            )
        return args, own

    def input_reader(self) -> codec.InputReader:
        """Reads packed inputs; made when all names that the annotations mention are defined."""
        return codec.InputReader(self.parameter_plans(), owner=self.owner)

    def accepts(self, given: bytes) -> bool:
        """Can a call with these packed inputs be one of this function, as far as its closure is concerned?"""
        closure = self.signature.closure
        if closure is None or not given:
            return True
        try:
            return closure.take_out(self.input_reader().read(given)[1]) is not None
        except NotDecodable:
            return True  # said when it is called

    @cached_property
    def plan(self) -> codec.Plan:
        """How the result is packed; made at the first use, when all names that annotations mention are defined."""
        plan = codec.plan(self.hints().get("return", EMPTY), owner=self.owner, names=self._names())
        plan.on_unlike = self.on_unlike
        return plan

    def refuse_unstorable(self) -> None:
        """Make sure that a result can be stored, before any work is done for it; looked at once.

        Raises:
            UnstorableType: no value of the declared type can be.
        """
        if not self.storable:
            self.plan.refuse_unstorable()
            self.storable = True

    def refuse_unknown(self) -> None:
        """Make sure that what the function is bound to is told apart from another object of its kind.

        Raises:
            NotStorable: nothing of it is recorded by which it could be.
        """
        if self.unknown is not None:
            from perdure.core.execution.instances import not_distinguished

            raise not_distinguished(self.unknown, self.owner)

    def parameter_plans(self) -> list[codec.Plan]:
        """How the arguments are packed, in the order of the parameters."""
        hints, names = self.hints(), self._names()
        parameters = list(signature_of(self.fn).parameters)
        if self.is_method:
            hints.setdefault(parameters[0], self.receiver)
        return [
            codec.plan(hints.get(name, EMPTY), owner=f"parameter {name!r} of {self.owner}", names=names)
            for name in parameters
        ]

    def hints(self) -> dict[str, Any]:
        """The annotations, resolved as far as they can be."""
        return hints_of(self.fn, self.locals)

    def _names(self) -> dict[str, Any]:
        return scope_of(self.fn) | self.locals


class Decorated:
    """What stands in the place of a user's function: a step or a workflow."""

    _spec: Spec


@overload
def spec_of(fn: Decorated) -> Spec: ...
@overload
def spec_of(fn: object) -> Spec | None: ...
def spec_of(fn: object) -> Spec | None:
    """The spec of a step or of a workflow; None for anything else.

    It goes by the class: `functools.wraps` copies the attributes of a step to whatever function wraps it.
    """
    return fn._spec if isinstance(fn, Decorated) else None


class Call(msgspec.Struct, eq=False):
    """One call of a step or of a child workflow.

    `input` is the packed arguments, `key` 16 bytes that stand for them (or for what the caller's key function said:
    `named`), `n` how many times name + key came before in this run. `salt` sets its idempotency key apart from that of
    the same call before (it was undone, or its input edited); `drop` are the numbers of records that its own replaces;
    `seq` is the number of its record, as soon as it has one. `ledgers` are the budgets that it counts for, `spending`
    is what its attempt under way has spent, as the engine keeps it, and `spent` how its record says that; `counted`: an
    attempt of it was; `by_record`: it counts by its record alone. `extras`: what its record is to say besides. `keyed`:
    it has asked for its idempotency key; `defaults` (packed) are those of the function that it might change.
    `due_to_exit`: it is made while the workflow handles an exit of its own code, or that its task is cancelled from
    outside, which may not come again.
    """

    spec: Spec
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    input: bytes
    key: bytes
    named: bool = False
    n: int = 0
    salt: bytes = b""
    drop: tuple[int, ...] = ()
    seq: int = 0
    ledgers: tuple[Ledger, ...] = ()
    spending: UnderWay | None = None
    spent: str | None = None
    counted: bool = False
    by_record: bool = False
    extras: Extras | None = None
    keyed: bool = False
    defaults: bytes | None = None
    due_to_exit: bool = False

    def more(self) -> Extras:
        """What is to be recorded of it besides."""
        if self.extras is None:
            self.extras = Extras()
        return self.extras
