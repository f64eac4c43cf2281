"""The delay that a server names, in all the forms that it may have."""

from __future__ import annotations

import pytest
from classified import assess
from http_errors import NOW, ClientError, from_httpx


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        (" 3 ", 3.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
        ("Tue Nov 14 22:14:20 2023", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Tuesday, 14-Nov-23 22:00:00 GMT", 0.0),
        ("Tue Nov 14 22:00:00 2023", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("Wed Dec  6 22:13:20 2023", 22 * 86400.0),
        ("Tue, 14 Nov 2023 22:13:60 GMT", 39.0),
        ("Sat, 14 Nov 2122 22:13:20 GMT", 36159 * 86400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 - NOW),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("-0", None),
        ("+5", None),
        ("0x10", None),
        ("1_000", None),
        ("5s", None),
        ("2023-11-14T22:14:20Z", None),
        ("14 Nov", None),
        ("GMT", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("Tue, 99 Nov 2023 99:99:99 GMT", None),
        ("5, 10", None),
        ("x" * 10_000, None),
    ],
)
def test_retry_after(value, wait):
    """Seconds and the three forms of an HTTP-date (RFC 9110 10.2.3, 5.6.7) are understood; anything else is ignored."""
    exc = ClientError(429)
    exc.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] = value
    assert assess(exc, NOW).retry_after == wait


def test_a_date_is_counted_from_the_servers_own_clock():
    """A wrong clock on our side does not make the wait wrong, if the answer says what time it is there."""
    headers = {"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT", "Date": "Tue, 14 Nov 2023 22:14:10 GMT"}
    assert assess(from_httpx(503, headers), NOW - 86400).retry_after == 10.0


def test_a_delay_of_a_year_is_reported_as_such():
    """The assessment reports, the policy bounds."""
    assert assess(from_httpx(429, {"Retry-After": "31536000"}), NOW).retry_after == 31_536_000.0
    assert assess(from_httpx(429, {"Retry-After": "9" * 200}), NOW).retry_after == pytest.approx(1e200)


def test_other_headers_that_name_a_delay():
    """Milliseconds (Azure, OpenAI) come before seconds; GitHub's reset counts once nothing remains."""
    assert assess(from_httpx(429, {"retry-after-ms": "1500", "Retry-After": "2"}), NOW).retry_after == 1.5
    spent = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 30)}
    assert assess(from_httpx(403, spent), NOW).retry_after == 30.0
    assert assess(from_httpx(429, {**spent, "x-ratelimit-reset": "12"}), NOW).retry_after == 12.0
    assert assess(from_httpx(403, {**spent, "x-ratelimit-remaining": "5"}), NOW).kind == "permanent"
