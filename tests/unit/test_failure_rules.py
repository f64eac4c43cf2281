"""Which entry of the catalogue an exception of a well-known library is, and whether it is tried again."""

from __future__ import annotations

import errno
import gc
import json
import subprocess
import sys

import httpx
import pytest
from classified import assess
from http_errors import NOW

from perdure import failures
from perdure.core.policies.failure_rules import CODES


def made(name, *bases, message="x", args=None, **attributes):
    """Makes an exception of a class of that name: rules compare names, so the library is not needed."""

    def make():
        module, _, bare = name.rpartition(".")
        exc = type(bare, bases or (Exception,), {"__module__": module})(*(args or (message,)))
        exc.__dict__.update({key: value() if callable(value) else value for key, value in attributes.items()})
        return exc

    return make


@pytest.fixture(autouse=True, scope="module")
def no_class_stays():
    """What reads exceptions back looks for their classes; these are gone by then."""
    gc.freeze()  # no need to look through what is there already
    yield
    gc.collect()


def sql(state, name="psycopg.errors.Error"):
    return made(name, sqlstate=state)


def sdk(status, name="openai.BadRequestError", **attributes):
    return made(name, status_code=status, **attributes)


def aws(code, status=400):
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
    return made("botocore.exceptions.ClientError", response=response)


def mysql(number):
    return made("pymysql.err.OperationalError", args=(number, "x"))


CASES = [
    (httpx.ReadTimeout("x"), "transient", "cascading-timeout"),
    (made("requests.exceptions.Timeout", OSError), "transient", "cascading-timeout"),
    (made("openai.APITimeoutError"), "transient", "cascading-timeout"),
    (made("botocore.exceptions.ReadTimeoutError"), "transient", "cascading-timeout"),
    (subprocess.TimeoutExpired("x", 5), "transient", "cascading-timeout"),
    (subprocess.CalledProcessError(124, "x"), "transient", "cascading-timeout"),
    (sql("57014"), "transient", "cascading-timeout"),
    (sql("40P01"), "transient", "lock-contention"),
    (sql("40001"), "transient", "lock-contention"),
    (sql("55P03"), "transient", "lock-contention"),
    (sql("53300"), "transient", "lock-contention"),
    (sql("28P01"), "permanent", "credential-expired"),
    (sql("53100"), "permanent", "disk-full"),
    (sql("23505"), "permanent", "phantom-retry"),
    (sql("23502"), "permanent", "poison-item"),
    (sql("42703"), "permanent", "schema-change"),
    (made("psycopg2.Error", pgcode="40P01"), "transient", "lock-contention"),
    (made("sqlalchemy.exc.OperationalError", orig=sql("40P01")), "transient", "lock-contention"),
    (mysql(1213), "transient", "lock-contention"),
    (mysql(1062), "permanent", "phantom-retry"),
    (mysql(1045), "permanent", "credential-expired"),
    (mysql(1146), "permanent", "schema-change"),
    (made("sqlite3.IntegrityError", sqlite_errorname="SQLITE_CONSTRAINT_UNIQUE"), "permanent", "phantom-retry"),
    (made("sqlite3.OperationalError", sqlite_errorname="SQLITE_FULL"), "permanent", "disk-full"),
    (made("sqlite3.DatabaseError", message="database disk image is malformed"), "permanent", "state-drift"),
    (made("sqlite3.OperationalError", message="no such column: x"), "permanent", "schema-change"),
    (httpx.InvalidURL("x"), "permanent", None),
    (made("requests.exceptions.MissingSchema", ValueError), "permanent", None),
    (made("requests.exceptions.TooManyRedirects"), "permanent", None),
    (made("ssl.SSLCertVerificationError", OSError), "permanent", "credential-expired"),
    (
        made("requests.exceptions.SSLError", OSError, message="certificate has expired"),
        "permanent",
        "credential-expired",
    ),
    (made("botocore.exceptions.NoCredentialsError"), "permanent", "credential-expired"),
    (aws("AccessDenied", 403), "permanent", "credential-expired"),
    (aws("ThrottlingException"), "throttled", "rate-limit-spiral"),
    (aws("ConditionalCheckFailedException"), "permanent", None),
    (made("smtplib.SMTPAuthenticationError", OSError, smtp_code=535), "permanent", "credential-expired"),
    (made("smtplib.SMTPRecipientsRefused", OSError, recipients={"a": (550, b"x")}), "permanent", "poison-item"),
    (made("smtplib.SMTPRecipientsRefused", OSError, recipients={"a": (450, b"x")}), "transient", None),
    (sdk(529, "anthropic.InternalServerError"), "throttled", "rate-limit-spiral"),
    (sdk(429, body={"error": {"code": "insufficient_quota"}}), "permanent", "over-budget"),
    (sdk(400, body={"error": {"message": "Your credit balance is too low"}}), "permanent", "over-budget"),
    (sdk(400, body={"error": {"message": "prompt is too long: 9 tokens > 8"}}), "permanent", "context-saturation"),
    (sdk(400, code="context_length_exceeded"), "permanent", "context-saturation"),
    (sdk(402), "permanent", "over-budget"),
    (made("stripe.error.CardError", http_status=402), "permanent", "poison-item"),
    (sdk(422), "permanent", "schema-change"),
    (sdk(413), "permanent", "oversized-payload"),
    (OSError(errno.EMFILE, "x"), "transient", "incomplete-cleanup"),
    (OSError(errno.ENOMEM, "x"), "transient", "out-of-memory"),
    (subprocess.CalledProcessError(-9, "x"), "transient", "out-of-memory"),
    (subprocess.CalledProcessError(137, "x"), "transient", "out-of-memory"),
    (
        subprocess.CalledProcessError(255, "x", stderr=b"Permission denied (publickey)"),
        "permanent",
        "credential-expired",
    ),
    (subprocess.CalledProcessError(1, "x"), "transient", None),
    (RuntimeError("could not write: [Errno 28] No space left on device"), "permanent", "disk-full"),
    (RuntimeError("fetch failed: HTTP Error 401: Unauthorized"), "permanent", "credential-expired"),
    (made("redis.exceptions.TimeoutError"), "transient", "cascading-timeout"),
    (made("pymongo.errors.DuplicateKeyError"), "permanent", "phantom-retry"),
    (
        made("grpc._channel._InactiveRpcError", message="status = StatusCode.DEADLINE_EXCEEDED"),
        "transient",
        "cascading-timeout",
    ),
    (made("paramiko.ssh_exception.AuthenticationException"), "permanent", "credential-expired"),
    (made("pydantic_core._pydantic_core.ValidationError", ValueError), "transient", "schema-change"),
    (json.JSONDecodeError("x", "", 0), "transient", "schema-change"),
    (made("mypackage.Unheard"), "transient", None),
]


@pytest.mark.parametrize(("exc", "kind", "code"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_well_known_errors(exc, kind, code):
    """The entry is the right one, and what does not pass by itself is not tried again."""
    seen = assess(exc() if callable(exc) else exc, NOW)
    assert (seen.kind, seen.code) == (kind, code)
    assert bool(seen.rule) == (seen.confidence != "possible")


def test_a_message_makes_it_likely_and_a_class_certain():
    """How sure it is can be told."""
    assert assess(RuntimeError("No space left on device"), NOW).confidence == "likely"
    assert assess(OSError(errno.ENOSPC, "x"), NOW).confidence == "certain"
    assert assess(RuntimeError("x"), NOW).confidence == "possible"


def test_what_was_being_handled_lends_only_that_it_is_throttled():
    """A `raise` inside an `except`, without `from`: to wait too long is harmless, not to try again is not."""

    def reraised(first):
        try:
            try:
                raise first()
            except Exception:
                raise RuntimeError("it did not work")  # noqa: B904  that is the case
        except RuntimeError as error:
            return assess(error, NOW)

    busy = reraised(sdk(429, headers={"retry-after": "7"}))
    assert (busy.kind, busy.retry_after, busy.confidence) == ("throttled", 7.0, "possible")
    assert reraised(sdk(401)).kind == "transient"


def test_a_message_of_ten_megabytes_is_looked_at_in_its_beginning():
    """Rules see the first 2,000 characters."""
    assert assess(RuntimeError("x" * 10_000_000 + "No space left on device"), NOW).code is None


def test_every_entry_has_a_page():
    """All sections are there, and say something."""
    found = failures.catalogue()
    assert tuple(found) == CODES
    for entry in found.values():
        assert min(map(len, (entry.title, entry.symptoms, entry.causes, entry.fix, entry.prevent, entry.support))) > 15


def test_the_public_function():
    """`perdure.failures.classify` says all that is known."""
    seen = failures.classify(sdk(429, headers={"retry-after": "7"})())
    assert (seen.kind, seen.code, seen.status, seen.retry_after) == ("throttled", "rate-limit-spiral", 429, 7.0)
    assert (seen.confidence, seen.rule) == ("certain", "perdure: the delay that the server has named")


def test_rules_are_not_read_on_import():
    """`import perdure` and a step that goes well read no rule."""
    program = "import sys; there = {*sys.modules}; import perdure, perdure.failures; print(*{*sys.modules} - there)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "perdure.failures" in loaded
    assert not {"tomllib", "difflib"} & {*loaded}
