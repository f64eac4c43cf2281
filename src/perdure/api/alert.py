"""`perdure.alert`: send an alert from a script, a workflow or a step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from perdure.api.builtin import builtin
from perdure.engines.interface import Scope, StepContext, here
from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.alerts.alert import Level


def alert(text: str, level: Level = "info") -> bool:
    """Send an alert to the targets that the workflow names, `@workflow(alert=...)`, or those of the settings.

    These are PERDURE_ALERTS, pyproject.toml, or the Telegram variables; they are used outside of workflows, on a
    cluster, and in steps that have a process of their own. Without a target it does nothing.

    It can be called anywhere. In a step the alert names the run and the step. In a workflow it is a step itself, so
    that a resumed run does not send it again. Within 15 minutes the same text is sent once; repetitions are counted and
    summed up.

    The call waits for all channels at once, at most 5 s. In async code run it in a thread:
    `await asyncio.to_thread(perdure.alert, "text")`. What cannot be delivered is kept, and delivered with the next
    alert; errors of a channel are not raised.

    Args:
        text: the message, at most 900 characters; its first line is the title. Credentials in it are redacted.
        level: "info", "warning", "error" or "critical".

    Returns:
        True if every target has it, or if it was counted as a repetition; False if there is no target, or if it waits
        to be delivered.

    Raises:
        OptionError: there is no such level, or the address of a target is not valid.
    """
    from perdure.alerts.alert import LEVELS  # here, since most scripts send none
    from perdure.config import secrets

    if level not in LEVELS:
        raise OptionError(f"there is no alert level {level!r}", f"give one of {', '.join(map(repr, LEVELS))}")
    text = secrets.redactor()(str(text))  # before a workflow records it
    context = here.get()
    if isinstance(context, StepContext):
        return _send(text, level, context.call.spec.file, context)
    script = sys._getframe(1).f_code.co_filename  # the settings of the calling script hold
    return _send(text, level, script, None) if context is None else _alert(text, level, script)


@builtin("perdure.alert", key=lambda text, level, script: (text, level))
def _alert(text: str, level: str, script: str) -> bool:
    return _send(text, level, script, here.get())


def _send(text: str, level: str, script: str, context: Scope | StepContext | None) -> bool:
    from perdure.alerts import recipients, sender
    from perdure.alerts.alert import Alert
    from perdure.config import settings

    run = step_name = ""
    if isinstance(context, StepContext):
        run, step_name = context.run_id, context.call.spec.name
    scope = context.scope if isinstance(context, StepContext) else context
    targets = recipients.targets(None if scope is None else scope.alerts, script)
    about = Alert(
        what="message",
        level=level,  # type: ignore[arg-type]  # checked by `alert`
        error=text,
        run=run,
        step="" if step_name == "perdure.alert" else step_name,
    )
    return bool(targets) and not sender.send(about, targets, sender.folder_of(settings.state_path(script)))
