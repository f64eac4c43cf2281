"""A worker whose cluster is away says so in a line, however many of its runs ask for something meanwhile."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("temporalio")

from temporalio.service import RPCError, RPCStatusCode

from perdure.engines.temporal.worker_logs import AGAIN, Away
from perdure.errors import DecryptionError, EngineError


def test_the_attempts_that_fail_meanwhile_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """It is said again after a while; a step that fails with an error of its own is logged as ever."""
    now = [5.0]
    away = Away(lambda: now[0])
    gone, own = EngineError("no Temporal cluster answers\nat x", "start it"), ValueError("no money")

    def record(error: Exception) -> logging.LogRecord:
        info = (type(error), error, None)
        return logging.LogRecord("temporalio.activity", 30, "x.py", 1, "Completing activity as failed", (), info)

    with caplog.at_level(logging.WARNING, "perdure"):
        assert [away.filter(record(gone)) for _ in range(30)] == [False] * 30
        assert not away.filter(record(RPCError("tcp connect error", RPCStatusCode.UNAVAILABLE, b"")))
        assert not away.filter(record(RPCError("transport error", RPCStatusCode.UNKNOWN, b"")))
        for other in (
            own,
            RPCError("boom", RPCStatusCode.UNKNOWN, b""),
            RPCError("no such run", RPCStatusCode.NOT_FOUND, b""),
            DecryptionError("no key", "give it"),
        ):
            assert away.filter(record(other))
        assert caplog.messages == [
            "no Temporal cluster answers\\nat x; what waits for it is tried again until it is back"
        ]
        now[0] += AGAIN
        assert not away.filter(record(gone))
    assert len(caplog.messages) == 2
