"""A decision that outlives the thread which carries it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.engines.runtime.threads import in_pool
from perdure.engines.runtime.timeouts import Abandoned

if TYPE_CHECKING:
    from perdure.engines.local.scope import LocalScope
    from perdure.engines.local.sync_driver import Program, SyncDriver


class Carried:
    """A decision that pool threads carry: one of them, and the next if that one is stuck.

    Args:
        driver: performs its effects.
        program: the decision.
        scope: the run it belongs to.
        on_end: told what it returned or raised.
        afterwards: what the thread that ends it does next.
        context: what another thread goes on in; nobody has entered it.
    """

    __slots__ = ("afterwards", "context", "driver", "on_end", "program", "scope")

    def __init__(
        self,
        driver: SyncDriver,
        program: Program,
        scope: LocalScope,
        on_end: Callable[[Any, BaseException | None], None],
        afterwards: Callable[[], None] | None = None,
        *,
        context: contextvars.Context,
    ) -> None:
        self.driver = driver
        self.program = program
        self.scope = scope
        self.on_end = on_end
        self.afterwards = afterwards
        self.context = context

    def run(self, answer: Any = None) -> None:
        """Carry it from where it stands, on the current pool thread.

        Raises:
            Abandoned: the thread was stuck too long; another has gone on.
        """
        in_pool.carried = self
        try:
            end = self.driver.drive(self.program, self.scope, answer)
        except Abandoned:
            raise
        except BaseException as error:  # noqa: BLE001  whoever waits for it raises it
            self.on_end(None, error)
        else:
            self.on_end(end, None)
        finally:
            in_pool.carried = None

    def go_on(self, answer: Any) -> None:
        """Take over from a thread that is stuck, and do what it would have done next."""
        self.run(answer)
        if self.afterwards is not None:
            self.afterwards()

    def give_up(self, error: BaseException) -> None:
        """The same, without going on with it."""
        self.program.close()
        self.on_end(None, error)
        if self.afterwards is not None:
            self.afterwards()
