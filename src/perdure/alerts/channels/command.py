"""Alerts by a program of the user's own."""

from __future__ import annotations

import os
import shlex

import msgspec

from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target
from perdure.alerts.channels.send_timeout import SECONDS
from perdure.alerts.sanitize import cut, one_line
from perdure.errors import AlertError

SAID = 4096
"""Bytes of what the program says about its failure that are read."""


class Command(Target):
    """A program: the text on its standard input, all of the alert as JSON in the variable PERDURE_ALERT.

    No shell is involved. Exit code 0 says that the alert was delivered; a program that takes longer than 5 s is
    killed, with what it started.
    """

    def __init__(self, text: str) -> None:
        self._words = shlex.split(text)
        super().__init__(f"exec:{self._words[0]}", f"exec:{text}", self._words[1:])

    def _deliver(self, alert: Alert, text: str) -> None:
        from subprocess import Popen, TimeoutExpired
        from tempfile import TemporaryFile

        environment = os.environ | {"PERDURE_ALERT": msgspec.json.encode(alert.as_json()).decode()}
        # Files rather than pipes: a program that reads nothing or leaves somebody behind who holds them is no matter.
        with TemporaryFile() as given, TemporaryFile() as said:
            given.write(text.encode() + b"\n")
            given.seek(0)
            try:
                process = Popen(
                    self._words, stdin=given, stdout=said, stderr=said, env=environment, start_new_session=True
                )
            except OSError as error:
                raise AlertError(
                    f"cannot be started: {error.strerror}", "see that it is there and executable"
                ) from None
            try:
                status = process.wait(SECONDS)
            except TimeoutExpired:
                raise AlertError(f"did not end within {SECONDS:g} s and was killed") from None
            finally:
                if process.returncode is None:
                    _kill(process.pid)
                    process.wait()
            if status != 0:
                said.seek(0)
                told = cut(one_line(said.read(SAID).decode("utf-8", "replace")), 200)
                raise AlertError(f"ended with {status}{f': {told}' if told else ''}")


def _kill(pid: int) -> None:
    import signal
    from contextlib import suppress

    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
