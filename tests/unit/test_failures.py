"""The assessment of failures: what may heal, what cannot, and what delay the server named."""

from __future__ import annotations

import asyncio
import email.message
import errno
import io
import json
import socket
import sqlite3
import ssl
import subprocess
import sys
import urllib.error

import httpx
import msgspec
import pytest

from perdure import errors
from perdure.core.policies.classify import assess

NOW = 1_700_000_000.0


def from_httpx(status, headers=()):
    request = httpx.Request("GET", "http://api.test/")
    return httpx.HTTPStatusError(
        "", request=request, response=httpx.Response(status, headers=dict(headers), request=request)
    )


def from_requests(status, headers=()):
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code = status
    response.headers.update(dict(headers))
    return requests.HTTPError(response=response)


def from_urllib(status, headers=()):
    message = email.message.Message()
    for name, value in dict(headers).items():
        message[name] = value
    return urllib.error.HTTPError("http://api.test/", status, "", message, io.BytesIO())


def from_aiohttp(status, headers=()):
    aiohttp = pytest.importorskip("aiohttp")
    multidict = pytest.importorskip("multidict")
    return aiohttp.ClientResponseError(None, (), status=status, headers=multidict.CIMultiDict(headers))


class ClientError(Exception):
    """As botocore's: the answer is a dict, its headers in lower case."""

    def __init__(self, status, headers=(), code=""):
        self.response = {
            "Error": {"Code": code},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "HTTPHeaders": {k.lower(): v for k, v in dict(headers).items()},
            },
        }


class APIStatusError(Exception):
    """As openai's and anthropic's: `status_code` beside an httpx response."""

    def __init__(self, status, headers=(), code=None):
        self.status_code = status
        self.response = from_httpx(status, headers).response
        self.code = code


CLIENTS = [from_httpx, from_requests, from_urllib, from_aiohttp, ClientError, APIStatusError]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request):
    return request.param


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 418, 422, 451, 499, 501, 505])
def test_statuses_that_cannot_heal(client, status):
    """The same request would get the same answer, whichever client raised it."""
    seen = assess(client(status), NOW)
    assert (seen.kind, seen.status, seen.retry_after) == ("permanent", status, None)


@pytest.mark.parametrize("status", [408, 409, 421, 423, 424, 425, 500, 502, 503, 504, 507, 520, 529])
def test_statuses_that_may_heal(client, status):
    """The server's own trouble, or somebody else's request in the way."""
    seen = assess(client(status), NOW)
    assert (seen.kind, seen.status, seen.retry_after) == ("transient", status, None)


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


@pytest.mark.parametrize(
    ("code", "kind", "entry"),
    [
        ("ThrottlingException", "throttled", "rate-limit-spiral"),
        ("SlowDown", "throttled", "rate-limit-spiral"),
        ("ProvisionedThroughputExceededException", "throttled", "rate-limit-spiral"),
        ("RequestTimeout", "transient", None),
        ("ExpiredTokenException", "permanent", "credential-expired"),
        ("ValidationException", "permanent", None),
    ],
)
def test_aws_says_it_in_the_error_code(code, kind, entry):
    """AWS answers 400 to all of these; its error code tells them apart."""
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


@pytest.mark.parametrize(
    "exc",
    [
        TypeError(), AttributeError(), NameError(), UnboundLocalError(), SyntaxError(), ImportError(),
        ModuleNotFoundError(), AssertionError(), NotImplementedError(), RecursionError(),
        FileNotFoundError(2, "x"), PermissionError(13, "x"), IsADirectoryError(21, "x"), NotADirectoryError(20, "x"),
        FileExistsError(17, "x"), OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), OSError(errno.EROFS, "x"),
        errors.NotStorable("x"), errors.OptionError("x"), errors.NotDecodable("x"), errors.Drift("x"),
        errors.StateCorrupt("x"), errors.HasDeadLetters("x"),
        KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError(), errors.StopRun(errors.Drift("x")),
        from_httpx(302),
    ],
    ids=repr,
)  # fmt: skip
def test_exceptions_that_cannot_heal(exc):
    """A wrong program, a missing file, a full disk, an interrupt: another try gives the same."""
    assert assess(exc, NOW).kind == "permanent"


@pytest.mark.parametrize(
    "exc",
    [
        Exception(), RuntimeError(), ValueError(), KeyError(), IndexError(), ZeroDivisionError(), EOFError(), OSError(),
        json.JSONDecodeError("x", "", 0), UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), MemoryError(),
        ConnectionResetError(104, "x"), BrokenPipeError(32, "x"), TimeoutError(),
        socket.gaierror(-3, "x"), ssl.SSLError(1, "x"), OSError(errno.EMFILE, "x"),
        errors.StepTimeout("x"), errors.ProcessDied("x"), errors.StateBusy("x"),
        sqlite3.OperationalError("database is locked"), subprocess.CalledProcessError(1, "x"),
        httpx.ConnectError("x"), httpx.ReadTimeout("x"), urllib.error.URLError("x"), msgspec.ValidationError("x"),
    ],
    ids=repr,
)  # fmt: skip
def test_exceptions_that_may_heal(exc):
    """The network, the moment, data from outside, and whatever nobody knows: try again."""
    assert assess(exc, NOW).kind == "transient"


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (from_httpx(401), "credential-expired"),
        (from_httpx(403), "credential-expired"),
        (from_httpx(413), "oversized-payload"),
        (from_httpx(504), "cascading-timeout"),
        (TimeoutError(), "cascading-timeout"),
        (errors.StepTimeout("x"), "cascading-timeout"),
        (MemoryError(), "out-of-memory"),
        (OSError(errno.ENOSPC, "x"), "disk-full"),
        (errors.DiskFull("x"), "disk-full"),
        (errors.NotDecodable("x"), "schema-change"),
        (msgspec.ValidationError("x"), "schema-change"),
        (errors.Drift("x"), "code-drift"),
        (errors.StateBusy("x"), "lock-contention"),
        (from_httpx(404), None),
        (ValueError(), None),
    ],
    ids=repr,
)
def test_catalogue_codes(exc, code):
    """Where the entry of the failure catalogue is obvious, it is named."""
    assert assess(exc, NOW).code == code


def test_a_locked_database_is_lock_contention(tmp_path):
    """SQLite says so itself, in the exception."""
    first, second = (sqlite3.connect(tmp_path / "db", isolation_level=None, timeout=0) for _ in range(2))
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        second.execute("BEGIN IMMEDIATE")
    first.close()
    second.close()
    assert assess(locked.value, NOW).code == "lock-contention"


def raised(exc, *, cause=None, context=None):
    exc.__cause__, exc.__context__ = cause, context
    return exc


def test_an_explicit_cause_tells_about_an_unknown_exception():
    """`raise OrderFailed() from http_error` is judged as the HTTP error."""
    seen = assess(raised(RuntimeError(), cause=from_httpx(429, {"Retry-After": "9"})), NOW)
    assert (seen.kind, seen.retry_after) == ("throttled", 9.0)
    assert assess(raised(RuntimeError(), cause=from_httpx(404)), NOW).kind == "permanent"


def test_what_was_merely_being_handled_tells_nothing():
    """An implicit context may have nothing to do with the error."""
    assert assess(raised(RuntimeError(), context=TypeError()), NOW).kind == "transient"


def test_the_exception_itself_speaks_before_its_cause():
    """A TypeError is a TypeError, whatever it was raised from."""
    assert assess(raised(TypeError(), cause=from_httpx(503)), NOW).kind == "permanent"


def test_a_group_heals_when_all_of_it_heals():
    """One member that cannot heal is enough; else the longest named delay counts."""
    busy = [from_httpx(429, {"Retry-After": "3"}), ValueError(), from_httpx(429, {"Retry-After": "5"})]
    assert assess(ExceptionGroup("", [ValueError(), TypeError()]), NOW).kind == "permanent"
    seen = assess(ExceptionGroup("", busy), NOW)
    assert (seen.kind, seen.retry_after) == ("throttled", 5.0)
    assert assess(ExceptionGroup("", [ValueError()]), NOW).kind == "transient"


def test_chains_and_cycles_end():
    """A cause that leads back to itself, or a very deep one, is no endless search."""
    loop = RuntimeError()
    loop.__cause__ = RuntimeError()
    loop.__cause__.__cause__ = loop
    assert assess(loop, NOW).kind == "transient"
    deep = ValueError()
    for _ in range(500):
        deep = ExceptionGroup("", [deep])
    assert assess(deep, NOW).kind == "transient"


class Weird(Exception):
    """Every attribute that assess asks for raises."""

    @property
    def response(self):
        raise ZeroDivisionError

    status_code = status = http_status = code = headers = errno = sqlite_errorname = response


class Unhashable(Exception):
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Broken:
    def __getattr__(self, name):
        raise RuntimeError(name)

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None

    def get(self, name):
        raise RuntimeError(name)


class Liar(Exception):
    @property
    def __class__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "exc",
    [
        Weird(), Unhashable(response=Broken()), Unhashable(headers=Broken(), status=503),
        Unhashable(response={"Error": {"Code": []}, "ResponseMetadata": []}), Unhashable(response={"Error": 1}),
        Unhashable(status_code=10**30), Unhashable(status_code="429"), Unhashable(status_code=True),
        Unhashable(response=Broken, headers=7, code=Broken()), Unhashable(code=404), Unhashable(status=404),
    ],
    ids=lambda exc: type(exc).__name__,
)  # fmt: skip
def test_odd_exceptions_never_break_the_assessment(exc):
    """Whatever the attributes are or do, the answer is an assessment; a number alone is no HTTP status."""
    assert assess(exc, NOW).kind == "transient"


def test_an_exception_that_hides_its_class_never_breaks_the_assessment():
    """Not even isinstance() can be relied on."""
    assert assess(Liar(), NOW).kind == "transient"


def test_no_client_library_is_imported():
    """The assessment is by shape: a program without these libraries does not load them."""
    libraries = ["httpx", "requests", "aiohttp", "botocore", "pydantic", "ssl", "email.utils", "asyncio"]
    program = (
        "import sys; from perdure.core.policies.classify import assess; assess(ValueError(), 0.0);"
        f"print([name for name in {libraries} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
