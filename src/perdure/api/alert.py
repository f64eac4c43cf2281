"""`perdure.alert`: an alert of your own, from anywhere."""

from __future__ import annotations

import sys
from typing import Literal

from perdure.api.step import step
from perdure.engines.interface import Scope, StepContext, here
from perdure.errors import OptionError

Level = Literal["info", "warning", "error", "critical"]

LEVELS = ("info", "warning", "error", "critical")


def alert(text: str, level: Level = "info") -> bool:
    """Send an alert to the targets of PERDURE_ALERTS, pyproject.toml, or ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID.

    Works anywhere. In a step it names the run and the step; in a workflow it is a step itself, so a run that is resumed
    does not send it again. Without targets it does nothing. The same text is sent once in 15 minutes, then counted.

    It waits for the channels, 5 s at most for each, all at once; in async code call it in a thread:
    `await asyncio.to_thread(perdure.alert, "text")`. What cannot be delivered now is kept, and delivered with the next
    alert; an error of a channel is logged, not raised.

    Args:
        text: the first line is the title; 900 characters at most. Credentials in it are redacted.
        level: "info", "warning", "error" or "critical".

    Returns:
        Whether it was delivered to all targets, or is counted for the next summary.

    Raises:
        OptionError: there is no such level, or a target's address is not valid.
    """
    if level not in LEVELS:
        raise OptionError(f"there is no alert level {level!r}", f"one of {', '.join(map(repr, LEVELS))}")
    context = here.get()
    if isinstance(context, StepContext):
        return _send(text, level, context.call.spec.file, context)
    script = sys._getframe(1).f_code.co_filename  # the settings of the calling script hold
    return _send(text, level, script, None) if context is None else _alert(text, level, script)


@step(name="perdure.alert", retry=None, timeout=None, key=lambda text, level, script: (text, level))
def _alert(text: str, level: str, script: str) -> bool:
    return _send(text, level, script, here.get())


def _send(text: str, level: str, script: str, context: Scope | StepContext | None) -> bool:
    from perdure.alerts import recipients, sender
    from perdure.alerts.alert import Alert
    from perdure.config import settings

    run = step_name = ""
    if isinstance(context, StepContext):
        run, step_name = context.run_id, context.call.spec.name
    targets = recipients.targets(None, script)
    message = Alert(
        what="message",
        level=level,  # type: ignore[arg-type]  # `alert` has checked it
        error=str(text),
        run=run,
        step="" if step_name == "perdure.alert" else step_name,
    )
    return bool(targets) and not sender.send(message, targets, sender.folder_of(settings.state_path(script)))
