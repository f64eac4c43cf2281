"""A cluster that goes away while it is asked: the error has the code `engine`, and says that nothing is lost."""

from __future__ import annotations

import pytest
from temporalio.service import RPCError, RPCStatusCode

from perdure.engines.temporal.address import Address
from perdure.engines.temporal.connection import Cluster
from perdure.errors import EngineError


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (RPCStatusCode.UNAVAILABLE, "does not answer any more", "nothing is lost"),
        (RPCStatusCode.PERMISSION_DENIED, "refuses a request (PERMISSION_DENIED", "permissions"),
    ],
)
def test_no_error_of_the_connection_gets_out(status: RPCStatusCode, said: str, hint: str) -> None:
    """What Temporal's client raises is named, without a traceback of its own behind it."""

    async def request() -> None:
        raise RPCError("tcp connect error", status, b"")

    with pytest.raises(EngineError) as caught:
        Cluster(Address.of("temporal://127.0.0.1:1/default")).wait(request())
    assert said in caught.value.what
    assert hint in caught.value.hint
    assert caught.value.__suppress_context__
