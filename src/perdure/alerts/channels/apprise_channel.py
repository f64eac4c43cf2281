"""Alerts by Apprise (https://github.com/caronc/apprise), which knows more than a hundred services."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from typing import Final
from urllib.parse import unquote

import msgspec

from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import CHECK, Target
from perdure.alerts.channels.send_timeout import SECONDS
from perdure.config.interpreter import module_command
from perdure.errors import AlertError

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

STARTING: Final = 10.0
"""Seconds that a busy machine may take to start Python and load Apprise, before the 5 s of the channel begin."""

_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|<(?=[!@#])")
"""What notifies all members of a chat, if an error's text contains it."""

_KINDS = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}


class Request(msgspec.Struct, frozen=True):
    """One alert, as the sending process receives it."""

    url: str
    title: str
    body: str
    kind: str


class Outcome(msgspec.Struct, frozen=True):
    """Whether it was sent; if not, `why` is the last warning that Apprise logged."""

    sent: bool
    why: str = ""


class AppriseTarget(Target):
    """An address that Apprise knows.

    Apprise runs in a process of its own: it is large, it has threads that a hanging server would keep at work beyond
    the end of a script, and a process can be ended when its time is over.
    """

    def __init__(self, url: str) -> None:
        match = SCHEME.match(url)
        scheme = match[1].lower() if match else ""
        rest = url[match.end() :] if match else url
        pieces = [piece for part in re.split(r"[/?&@:=]", rest) for piece in (part, unquote(part))]
        super().__init__(f"{scheme}://", url, [url, rest, *pieces])
        self.name += f"{self.digest[:6]}..."  # two of a kind have different names
        self._url = url

    def _deliver(self, alert: Alert, text: str) -> None:
        from subprocess import TimeoutExpired, run

        if find_spec("apprise") is None:
            missing = ModuleNotFoundError("No module named 'apprise'", name="apprise")  # another try finds none, either
            raise AlertError("the package apprise is not installed", "pip install 'perdure[alerts]'") from missing
        title, _, body = _MENTION.sub(lambda found: f"{found[0]}\u200b", text).partition("\n")
        request = Request(self._url, title if body else "", body or title, _KINDS[alert.level])
        try:
            done = run(
                # -P: a script called apprise.py in the working directory is not meant.
                module_command("perdure.alerts.channels.apprise_process"),
                input=msgspec.json.encode(request),
                capture_output=True,
                timeout=STARTING + SECONDS,
                check=False,
                start_new_session=True,
            )
        except TimeoutExpired:
            raise AlertError(
                f"no answer within {STARTING + SECONDS:g} s",
                "check whether the service can be reached from this machine",
            ) from None
        except OSError as error:
            raise AlertError(
                f"Python cannot be started: {error.strerror}", f"check that {sys.executable} can be executed"
            ) from None
        try:
            outcome = msgspec.json.decode(done.stdout, type=Outcome)
        except msgspec.DecodeError:
            last = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
            raise AlertError(f"Apprise ended with {done.returncode}{f': {last}' if last else ''}", CHECK) from None
        if not outcome.sent:
            raise AlertError(outcome.why, CHECK)
