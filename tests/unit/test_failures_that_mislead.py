"""Exceptions that break while they are assessed, lie, or go round in circles."""

from __future__ import annotations

import subprocess
import sys

import pytest
from classified import assess
from http_errors import NOW


def test_chains_and_cycles_end():
    """A cause that leads back to itself, or a very deep one, is no endless search."""
    loop = RuntimeError()
    loop.__cause__ = RuntimeError()
    loop.__cause__.__cause__ = loop
    assert assess(loop, NOW).kind == "transient"
    deep = EOFError()
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
    libraries = ["httpx", "requests", "aiohttp", "botocore", "pydantic", "ssl", "asyncio"]
    program = (
        "import sys; from perdure.failures import classify; classify(ValueError());"
        f"print([name for name in {libraries} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
