"""Classifies exceptions: is the error transient, and did the server name a delay?

The rule: **try again unless it is certain not to help.** A try too many costs seconds; a try too few costs a person the
work of looking at it. So an unknown error is transient, and what is permanent is listed here with its reason.

By HTTP status (RFC 9110 section 15; an unlisted 4xx counts as 400, an unlisted 5xx as 500, as section 15 says):

- any status with Retry-After: throttled. A server that names a delay says that the condition passes (GitHub: 403;
  RFC 9110 15.5.14: 413).
- 429: throttled (RFC 6585 section 4).
- 408, 421, 425: transient. Their definitions allow repeating the request (RFC 9110 15.5.9, 15.5.20; RFC 8470 5.2).
- 409, 423, 424: transient. Another request is in the way (RFC 9110 15.5.10; RFC 4918 11.3, 11.4).
- 3xx, every other 4xx: permanent. The same request gets the same answer.
- 501, 505: permanent. The server lacks the function or the protocol version (RFC 9110 15.6.2, 15.6.6).
- every other 5xx: transient.

By class, where there is no status:

- the program is wrong, not the moment: permanent. TypeError, AttributeError, NameError, SyntaxError, ImportError,
  AssertionError, NotImplementedError, RecursionError.
- a person has to act, and the run resumes at this step afterwards: permanent. FileNotFoundError, FileExistsError,
  PermissionError, IsADirectoryError, NotADirectoryError, a full or read-only disk; what perdure itself refuses.
- ValueError, KeyError, IndexError, ArithmeticError themselves, without a cause that says otherwise: permanent. The same
  input gives the same error. Classes below them (JSONDecodeError, a validation error) are transient: they are about
  an answer, a gateway's HTML page instead of JSON or a model's bad output, and the next one may be another.
- everything else (connections, timeouts, DNS, TLS, a locked database, the unknown): what its explicit cause
  (`raise ... from cause`) is known to be, else transient.

No client library is imported: their exceptions are read by the attributes that they share.
"""

from __future__ import annotations

import errno
import re
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from perdure import errors

Kind = Literal["transient", "permanent", "throttled"]

_PROGRAM = (
    TypeError,
    AttributeError,
    NameError,
    SyntaxError,
    ImportError,
    AssertionError,
    NotImplementedError,
    RecursionError,
)
_BY_INPUT = frozenset(
    {
        ValueError,
        KeyError,
        IndexError,
        LookupError,
        ArithmeticError,
        ZeroDivisionError,
        OverflowError,
        FloatingPointError,
        UnicodeEncodeError,
    }
)
"""The same input gives the same error. The classes themselves: one below them is a library's, about an answer."""
_FILES = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_OURS = (errors.UsageError, errors.RunError, errors.StateError)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_SHARING_VIOLATIONS = {32, 33}
"""ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION: Windows raises PermissionError while a scanner holds a file."""

_HEALING_4XX = {408, 409, 421, 423, 424, 425}
_PERMANENT_5XX = {501, 505}
_STATUS_CODES = {
    401: "credential-expired",
    403: "credential-expired",
    402: "over-budget",
    408: "cascading-timeout",
    413: "oversized-payload",
    423: "lock-contention",
    429: "rate-limit-spiral",
    504: "cascading-timeout",
    507: "disk-full",
}

# botocore's lists (botocore/retries/standard.py): AWS answers 400 to these, only the code distinguishes them.
_AWS_THROTTLED = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
_AWS_TRANSIENT = {"RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable"}
_AWS_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}

_DEEP = 5
_WIDE = 100


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a failed attempt.

    Attributes:
        kind: "transient" may be gone at the next try, "permanent" stays, "throttled" passes when the caller has waited.
        status: the HTTP status that the server answered with.
        retry_after: seconds from now that the server asked to wait.
        code: the entry of the failure catalogue, where it is obvious.
    """

    kind: Kind
    status: int | None = None
    retry_after: float | None = None
    code: str | None = None


def assess(exc: BaseException, now: float) -> Assessment:
    """Whether `exc` is transient, read from the exception alone; never raises.

    Args:
        exc: what the attempt raised.
        now: the time of day, in seconds since the epoch; a delay that the server named as a date is counted from it.
    """
    try:
        return _assess(exc, now, _DEEP)
    except Exception:  # noqa: BLE001  an exception that cannot be read is an unknown one
        return Assessment(kind="transient")


def _assess(exc: BaseException, now: float, deep: int) -> Assessment:
    if not isinstance(exc, Exception):
        return Assessment(kind="permanent")
    known = _aws(exc, now) or _http(exc, now) or _by_class(exc)
    if known is not None or deep == 0:
        return known or Assessment(kind="transient")
    if isinstance(exc, ExceptionGroup):
        return _group(exc, now, deep)
    # Only the cause that was named with `raise ... from`: what was merely being handled may have nothing to do with it.
    if isinstance(exc.__cause__, Exception):
        return _assess(exc.__cause__, now, deep - 1)
    return Assessment(kind="permanent" if type(exc) in _BY_INPUT else "transient")


def _group(exc: ExceptionGroup[Exception], now: float, deep: int) -> Assessment:
    """The members' verdicts as one: all have to pass before a new try can succeed."""
    members = [_assess(member, now, deep - 1) for member in exc.exceptions[:_WIDE]]
    for kind in ("permanent", "throttled"):
        for member in members:
            if member.kind == kind:
                waits = [each.retry_after for each in members if each.retry_after is not None]
                return msgspec.structs.replace(member, retry_after=max(waits, default=None))
    return members[0]


def _by_class(exc: Exception) -> Assessment | None:
    """The verdict on the class, or None where the class says nothing."""
    if isinstance(exc, _OURS):
        kind: Kind = "transient" if isinstance(exc, errors.StateBusy) else "permanent"
        return Assessment(kind=kind, code=_our_code(exc))
    if isinstance(exc, errors.BreakerOpen):
        return Assessment(kind="throttled", retry_after=exc.retry_after)
    if isinstance(exc, TimeoutError):
        return Assessment(kind="transient", code="cascading-timeout")
    if isinstance(exc, MemoryError):
        return Assessment(kind="transient", code="out-of-memory")
    if isinstance(exc, OSError):
        return _by_errno(exc)
    if isinstance(exc, _PROGRAM):
        return Assessment(kind="permanent")
    if str(_peek(exc, "sqlite_errorname")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Assessment(kind="transient", code="lock-contention")
    if type(exc).__name__ == "ValidationError" and type(exc).__module__.startswith(("pydantic", "msgspec")):
        return Assessment(kind="transient", code="schema-change")
    return None


def _by_errno(exc: OSError) -> Assessment | None:
    number = _peek(exc, "errno")
    if number in _FULL:
        return Assessment(kind="permanent", code="disk-full")
    if number == errno.EROFS:
        return Assessment(kind="permanent")
    if number == errno.ETIMEDOUT:
        return Assessment(kind="transient", code="cascading-timeout")
    if isinstance(exc, _FILES) and _peek(exc, "winerror") not in _SHARING_VIOLATIONS:
        return Assessment(kind="permanent")
    return None


def _our_code(exc: errors.PerdureError) -> str | None:
    """The catalogue's name for an error of ours, for those that are entries of the catalogue."""
    if isinstance(exc, errors.StateBusy | errors.AlreadyRunning):
        return "lock-contention"
    code = type(exc).code
    return code if code in ("code-drift", "schema-change", "disk-full") else None


def _http(exc: Exception, now: float) -> Assessment | None:
    """The verdict on the server's answer, for an exception that carries one."""
    response = _peek(exc, "response")
    headers = _headers(exc, response)
    status = _status(exc, response, headers)
    if status is None:
        return None
    if status == 429 and _peek(exc, "code") == "insufficient_quota":
        # OpenAI's 429 for an account without credit: no wait makes it pass.
        return Assessment(kind="permanent", status=status, code="over-budget")
    wait = _named_delay(headers, status, now)
    if wait is not None or status == 429:
        return Assessment(kind="throttled", status=status, retry_after=wait, code="rate-limit-spiral")
    permanent = status not in _HEALING_4XX if status < 500 else status in _PERMANENT_5XX
    return Assessment(kind="permanent" if permanent else "transient", status=status, code=_STATUS_CODES.get(status))


def _aws(exc: Exception, now: float) -> Assessment | None:
    """The verdict on a botocore ClientError, whose response is a dict."""
    response = _peek(exc, "response")
    if not isinstance(response, dict):
        return None
    meta, error = response.get("ResponseMetadata"), response.get("Error")
    status = _plausible(meta.get("HTTPStatusCode")) if isinstance(meta, dict) else None
    headers = meta.get("HTTPHeaders") if isinstance(meta, dict) else None
    name = error.get("Code") if isinstance(error, dict) else None
    wait = _named_delay(headers, status, now)
    if name in _AWS_THROTTLED or status == 429 or wait is not None:
        return Assessment(kind="throttled", status=status, retry_after=wait, code="rate-limit-spiral")
    if name in _AWS_EXPIRED:
        return Assessment(kind="permanent", status=status, code="credential-expired")
    if status is None:
        return None
    permanent = status not in _HEALING_4XX if status < 500 else status in _PERMANENT_5XX
    return Assessment(
        kind="permanent" if permanent and name not in _AWS_TRANSIENT else "transient",
        status=status,
        code=_STATUS_CODES.get(status),
    )


def _status(exc: Exception, response: Any, headers: Any) -> int | None:
    """The HTTP status, from where the client libraries keep it.

    `status_code`: openai, anthropic, azure; `http_status`: stripe; `response.status_code`: httpx, requests;
    `status`: aiohttp, kubernetes; `code`: urllib, google-api-core. The last two are names that other exceptions use for
    other numbers, so they count only beside headers or a response.
    """
    for holder, name in ((exc, "status_code"), (exc, "http_status"), (response, "status_code"), (response, "status")):
        status = _plausible(_peek(holder, name))
        if status is not None:
            return status
    if headers is None and response is None:
        return None
    return _plausible(_peek(exc, "status")) or _plausible(_peek(exc, "code"))


def _plausible(status: object) -> int | None:
    """`status` if it is the HTTP status of a failure."""
    if isinstance(status, int) and not isinstance(status, bool) and 300 <= status <= 599:
        return int(status)
    return None


def _headers(exc: Exception, response: Any) -> Any:
    headers = _peek(response, "headers")
    return headers if headers is not None else _peek(exc, "headers")


def _header(headers: Any, name: str) -> str | None:
    """One header as text; the clients' mappings ignore case, a plain dict has one of these two spellings."""
    get = _peek(headers, "get")
    if get is None:
        return None
    for spelling in (name, name.title()):
        value = get(spelling)
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            return value.strip()
    return None


def _named_delay(headers: Any, status: int | None, now: float) -> float | None:
    """Seconds from now that the server asked to wait, or None."""
    if headers is None:
        return None
    # Azure's and OpenAI's finer form comes first, as in their own clients.
    milliseconds = _number(_header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = _header(headers, "retry-after")
    wait = _number(value)
    if wait is None and value is not None:
        date = _http_date(value)
        # Counted from the server's own clock where it sends it: ours may be wrong.
        wait = max(0.0, date - (_http_date(_header(headers, "date") or "") or now)) if date is not None else None
    if wait is None and status in (403, 429) and _header(headers, "x-ratelimit-remaining") == "0":
        # GitHub's form: the second at which the limit is lifted. Others send the seconds that are left.
        reset = _number(_header(headers, "x-ratelimit-reset"))
        wait = max(0.0, reset - now) if reset is not None and reset > 1e9 else reset
    return wait


def _number(text: str | None) -> float | None:
    """Delta-seconds of RFC 9110 section 10.2.3, with the decimals that some servers add."""
    if text is None or re.fullmatch(r"[0-9]{1,300}(\.[0-9]{1,300})?", text) is None:
        return None
    return float(text)


def _http_date(text: str) -> float | None:
    """Seconds since the epoch of an HTTP-date in any of the three forms of RFC 9110 section 5.6.7."""
    if not text or len(text) > 100:
        return None
    # Imported here: email.utils is heavy, and few servers answer with a date.
    import email.utils

    try:
        parts = email.utils.parsedate_tz(text)
        if parts is None:
            return None
        # The asctime form names no zone; an HTTP-date is in GMT always.
        # A leap second is 60, which RFC 9110 allows and datetime does not.
        return datetime(*parts[:5], min(parts[5], 59), tzinfo=UTC).timestamp() - (parts[9] or 0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _peek(holder: Any, name: str) -> Any:
    """An attribute, or None: reading an exception of another library must never raise."""
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001  a property may raise anything
        return None
