"""Steps that the tests of observers share, and what the log has of them."""

from __future__ import annotations

import pytest

from perdure import Retry, step


@step(retry=Retry(attempts=2, delay=0, jitter=0))
def charge(order: int) -> int:
    if order % 2:
        raise ValueError(f"order {order} is odd")
    return order


@step(retry=Retry(attempts=1))
async def acharge(order: int) -> int:
    if order % 2:
        raise ValueError(f"order {order} is odd")
    return order


def messages(caplog: pytest.LogCaptureFixture, of: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "perdure" and of in record.getMessage()]
