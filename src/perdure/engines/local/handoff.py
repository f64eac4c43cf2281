"""A decision that outlives the thread which carries it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import Call
from perdure.engines.runtime.threads import in_pool
from perdure.engines.runtime.timeouts import Abandoned


class Driven(Protocol):
    """The run that a decision belongs to."""

    def drive(self, program: Generator[Any, Any, Any], answer: Any = None) -> Any:
        """Carry a decision to its end on this thread, from where it waits for `answer`."""


S = TypeVar("S", bound=Driven)


class Handoff(Generic[S]):
    """A decision that one pool thread hands to the next if it is stuck.

    Args:
        program: the decision; None while the first attempt of a call is made without one.
        scope: the run it belongs to.
        on_end: called with what it returns, or with what it raises.
        afterwards: what the thread that ends it does next.
        context: what another thread goes on in; nothing has entered it.
        decide: makes the decision, of what came of such an attempt.
    """

    __slots__ = ("afterwards", "context", "decide", "on_end", "program", "scope")

    def __init__(
        self,
        program: Generator[Any, Any, Any] | None,
        scope: S,
        on_end: Callable[[Any, BaseException | None], None],
        afterwards: Callable[[], None] | None = None,
        *,
        context: contextvars.Context,
        decide: Callable[[Outcome], Generator[Any, Any, Any]] | None = None,
    ) -> None:
        self.program = program
        self.scope = scope
        self.on_end = on_end
        self.afterwards = afterwards
        self.context = context
        self.decide = decide

    def attempt(self, make: Callable[[Call, bool], Outcome | None], call: Call, park: bool) -> Outcome | None:
        """Make the first attempt of a call on the current pool thread, undecided; None: its decision has to be asked.

        Raises:
            Abandoned: the thread was stuck too long; another has gone on.
        """
        in_pool.handoff = self
        try:
            return make(call, park)
        finally:
            in_pool.handoff = None

    def run(self, answer: Any = None) -> None:
        """Carry it from where it stands, on the current pool thread.

        Raises:
            Abandoned: the thread was stuck too long; another has gone on.
        """
        assert self.program is not None
        in_pool.handoff = self
        try:
            end = self.scope.drive(self.program, answer)
        except Abandoned:
            raise
        except BaseException as error:  # noqa: BLE001  raised where the end is waited for
            self.on_end(None, error)
        else:
            self.on_end(end, None)
        finally:
            in_pool.handoff = None

    def go_on(self, answer: Any) -> None:
        """Take over from a thread that is stuck, and do what it would have done next."""
        if self.program is None and self.decide is not None:
            self.program, answer = self.decide(answer), None
        self.run(answer)
        if self.afterwards is not None:
            self.afterwards()

    def give_up(self, error: BaseException) -> None:
        """The same, without going on with it."""
        if self.program is not None:
            self.program.close()
        self.on_end(None, error)
        if self.afterwards is not None:
            self.afterwards()
