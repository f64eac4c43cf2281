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

OUTPUT = 4096
"""Bytes of the program's output that are read when it fails."""


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
        # Files rather than pipes: the program may read nothing, or leave a child behind that holds them open.
        with TemporaryFile() as text_in, TemporaryFile() as output:
            text_in.write(text.encode() + b"\n")
            text_in.seek(0)
            try:
                process = Popen(
                    self._words, stdin=text_in, stdout=output, stderr=output, env=environment, start_new_session=True
                )
            except OSError as error:
                raise AlertError(
                    f"cannot be started: {error.strerror}", "check that it exists and is executable"
                ) from None
            try:
                status = process.wait(SECONDS)
            except TimeoutExpired:
                raise AlertError(
                    f"did not end within {SECONDS:g} s and was killed", "let the program end sooner"
                ) from None
            finally:
                if process.returncode is None:
                    _kill(process.pid)
                    process.wait()
            if status != 0:
                output.seek(0)
                last = cut(one_line(output.read(OUTPUT).decode("utf-8", "replace")), 200)
                raise AlertError(
                    f"ended with {status}{f': {last}' if last else ''}",
                    "run the program by itself, with a text on its standard input",
                )


def _kill(pid: int) -> None:
    import signal
    from contextlib import suppress

    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
