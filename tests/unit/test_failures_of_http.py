"""The assessment of HTTP errors, whichever client raised them."""

from __future__ import annotations

import pytest
from classified import assess
from http_errors import CLIENTS, NOW, APIStatusError, ClientError


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request):
    return request.param


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 418, 422, 451, 499, 501, 505])
def test_permanent_statuses(client, status):
    """The same request would get the same answer, whichever client raised it."""
    seen = assess(client(status), NOW)
    assert (seen.kind, seen.status, seen.retry_after) == ("permanent", status, None)


@pytest.mark.parametrize("status", [408, 409, 421, 423, 424, 425, 500, 502, 503, 504, 507, 520])
def test_transient_statuses(client, status):
    """The server's own trouble, or another request in the way."""
    seen = assess(client(status), NOW)
    assert (seen.kind, seen.status, seen.retry_after) == ("transient", status, None)


@pytest.mark.parametrize(("number", "status"), [(299, None), (300, 300), (599, 599), (600, None), (True, None)])
def test_what_is_the_status_of_a_failure(number, status):
    """A redirect that nobody has followed is one; success, and what is no status of HTTP, is not."""
    assert assess(APIStatusError(number), NOW).status == status


def test_too_many_requests(client):
    """429 is throttling, with the delay that the server named."""
    seen = assess(client(429, {"Retry-After": "7"}), NOW)
    assert (seen.kind, seen.status, seen.retry_after, seen.code) == ("throttled", 429, 7.0, "rate-limit-spiral")
    assert assess(client(429), NOW).kind == "throttled"


@pytest.mark.parametrize("status", [403, 413, 503])
def test_a_named_delay_says_that_the_condition_passes(client, status):
    """Retry-After is throttling, whatever the status."""
    seen = assess(client(status, {"Retry-After": "120"}), NOW)
    assert (seen.kind, seen.retry_after) == ("throttled", 120.0)


@pytest.mark.parametrize(
    ("code", "kind", "entry"),
    [
        ("ThrottlingException", "throttled", "rate-limit-spiral"),
        ("SlowDown", "throttled", "rate-limit-spiral"),
        ("ProvisionedThroughputExceededException", "throttled", "rate-limit-spiral"),
        ("RequestTimeout", "transient", "cascading-timeout"),
        ("ExpiredTokenException", "permanent", "credential-expired"),
        ("ValidationException", "permanent", None),
    ],
)
def test_error_codes_of_aws(code, kind, entry):
    """AWS answers 400 to all of these; its error code distinguishes them."""
    seen = assess(ClientError(400, code=code), NOW)
    assert (seen.kind, seen.status, seen.code) == (kind, 400, entry)


def test_the_real_botocore_error():
    """The stand-in above has the shape of the real one."""
    exceptions = pytest.importorskip("botocore.exceptions")
    exc = exceptions.ClientError(ClientError(400, code="ThrottlingException").response, "PutItem")
    assert assess(exc, NOW).kind == "throttled"


def test_no_credit_is_not_throttling():
    """A 429 for an empty account does not pass by waiting."""
    seen = assess(APIStatusError(429, code="insufficient_quota"), NOW)
    assert (seen.kind, seen.code) == ("permanent", "over-budget")
