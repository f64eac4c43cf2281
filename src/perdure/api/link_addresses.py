"""The addresses of links that are given out, and the run that they are about, on each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from perdure.config import settings
from perdure.engines.interface import StepContext, here
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.core.signal_links import Link
    from perdure.engines.local.scope import LocalScope


class LinkedRun(Protocol):
    """The run that a question, or a link, is about: that which people know.

    `root` is its id, `workflow` the name of its workflow.
    """

    root: str
    workflow: str

    def now(self) -> float:
        """The time of day, in seconds since the epoch."""

    def option(self, script: str) -> str:
        """What is to be added to a command so that it finds the run."""

    def sign(self, link: Link) -> str:
        """The token of a link."""


class _OfStateFile:
    def __init__(self, scope: LocalScope) -> None:
        store = scope.resources.store
        rid = store.lineage(scope.run.rid)[-1]
        self.root = str(scope.id if rid == scope.run.rid else store.run_by_number(rid).id)
        self.workflow = scope.run.workflow
        self._scope = scope

    def now(self) -> float:
        return self._scope.world.now()

    def option(self, script: str) -> str:
        return self._scope.resources.option

    def sign(self, link: Link) -> str:
        from perdure.core.signal_links import sign
        from perdure.store.link_keys import keys_of

        (key, *_) = keys_of(self._scope.resources.store.path, make=True)
        return sign(link, key)


def linked_run(function: str) -> tuple[StepContext, LinkedRun]:
    """The call under way, of a step of ours, and the run that it belongs to.

    Raises:
        UsageError: there is none; the error names the function that needs it.
    """
    context = here.get()
    if not isinstance(context, StepContext):
        raise UsageError(
            f"perdure.{function}() is called outside a workflow", "call it in a function decorated with @workflow"
        )
    scope: Any = context.scope
    return context, _OfStateFile(scope) if hasattr(scope, "resources") else scope


def address(run: LinkedRun, action: str, link: Link, script: str) -> str:
    """Where a link is reached from outside."""
    return f"{settings.public_url(script)}/{action}/{run.sign(link)}"
