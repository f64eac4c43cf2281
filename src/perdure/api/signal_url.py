"""`perdure.signal_url`: a link that sends a run one signal."""

from __future__ import annotations

import sys
from contextvars import ContextVar

from perdure.api.builtin import builtin
from perdure.api.link_addresses import address, linked_run
from perdure.api.options import checked_event, checked_topic
from perdure.config import settings
from perdure.core.durations import Duration, seconds
from perdure.engines.interface import StepContext, here
from perdure.errors import UsageError

_made: ContextVar[tuple[float, str]] = ContextVar("perdure_signal_url")
"""How long the link that is made works, in seconds, and for which script it is."""


def signal_url(event: str, *, key: str = "", expires: Duration = "30d") -> str:
    """A link that sends this run one signal: whoever has it posts JSON there, once, until it expires.

    For a service that calls back. The link works while a worker serves links (`perdure worker --http`), or where
    `perdure.http.app` is mounted; PERDURE_PUBLIC_URL, or `public_url` in pyproject.toml, says how it is reached from
    outside. The link is a credential: it is redacted in logs and views. It is a step: a resumed run has the same link.

    Args:
        event: the name of the signal, as `wait_for` has it.
        key: as for `wait_for`.
        expires: (seconds, timedelta or text such as "7d") how long the link works.

    Raises:
        OptionError: an argument is not valid.
        UsageError: called outside a workflow, or it is not known how the links are reached.
    """
    checked_event(event)
    checked_topic(key)
    length = seconds(expires, option="expires")
    context = here.get()
    if context is None or isinstance(context, StepContext):
        raise UsageError(
            "perdure.signal_url() is called outside a workflow",
            "call it in the function decorated with @workflow, and pass the link to the step that gives it out",
        )
    token = _made.set((length, sys._getframe(1).f_code.co_filename))
    try:
        return _url(event, key)
    finally:
        _made.reset(token)


@builtin("perdure.signal_url", in_place=True)
def _url(event: str, key: str) -> str:
    from perdure.core.signal_links import Link

    length, script = _made.get()
    context, run = linked_run("signal_url")
    if not settings.public_url(script):
        raise UsageError(
            "perdure.signal_url() cannot make a link: no setting says how this machine is reached from outside",
            "set PERDURE_PUBLIC_URL, or public_url in [tool.perdure] of pyproject.toml, to the address that "
            "`perdure worker --http` is reached at",
        )
    expires = int(run.now() + length)
    link = Link("signal", run.root, event, key, context.idempotency_key()[:16], expires)
    return address(run, "signal", link, script)
