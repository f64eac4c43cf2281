"""Exceptions of libraries that are written in C or in Rust."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from library_error_makers import error, simple


@error("pydantic")
def pydantic_validation(pydantic: Any) -> None:
    class Answer(pydantic.BaseModel):
        n: int
        when: list[int]

    Answer.model_validate_json('{"n": "many", "when": ["x", 2]}')


@error("pydantic")
def pydantic_validator(pydantic: Any) -> None:
    def check(value: int) -> int:
        raise ValueError("must be {odd}")

    from typing import Annotated

    class Odd(pydantic.BaseModel):
        n: Annotated[int, pydantic.AfterValidator(check)]

    Odd(n=2)


@error("pydantic")
def pydantic_limits(pydantic: Any) -> None:
    pydantic.TypeAdapter(dict[str, pydantic.conint(gt=3, lt=5)]).validate_python({"a": 9, "b": object()})


@error("pydantic")
def pydantic_custom(pydantic: Any) -> None:
    from pydantic_core import PydanticCustomError

    def check(value: Any) -> Any:
        raise PydanticCustomError("too_late", "late by {days} days", {"days": 3})

    from typing import Annotated

    pydantic.TypeAdapter(Annotated[int, pydantic.AfterValidator(check)]).validate_python(1)


simple(
    "pydantic_core",
    custom=lambda m: m.PydanticCustomError("kind", "at {place}", {"place": 4}),
    known=lambda m: m.PydanticKnownError("greater_than", {"gt": 4}),
    omit=lambda m: m.PydanticOmit(),
    serialization=lambda m: m.PydanticSerializationError("cannot"),
)


@error("psycopg2")
def psycopg2_connect(psycopg2: Any) -> None:
    psycopg2.connect("host=127.0.0.1 port=1 connect_timeout=1")


simple(
    "psycopg2",
    operational=lambda m: m.OperationalError("server closed the connection"),
    integrity=lambda m: m.IntegrityError("duplicate key"),
    warning=lambda m: m.Warning("odd"),
)
simple("psycopg2.errors", unique=lambda m: m.UniqueViolation("duplicate key"), dead=lambda m: m.DeadlockDetected("x"))


@error("lxml.etree")
def lxml_xpath(etree: Any) -> None:
    etree.fromstring("<a/>").xpath("//[")


@error("lxml.etree")
def lxml_syntax(etree: Any) -> None:
    etree.fromstring("<a><b></a>")


@error("lxml.etree")
def lxml_schema(etree: Any) -> None:
    etree.XMLSchema(etree.fromstring("<x/>"))


@error("msgspec")
def msgspec_validation(msgspec: Any) -> None:
    msgspec.json.decode(b'{"a": "x"}', type=dict[str, int])


@error("msgspec")
def msgspec_decode(msgspec: Any) -> None:
    msgspec.json.decode(b"{")


@error("apsw")
def apsw_sql(apsw: Any) -> None:
    apsw.Connection(":memory:").execute("select * from nothing")


@error("sqlite3")
def sqlite3_integrity(sqlite3: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (a unique)")
        connection.execute("insert into t values (1)")
        connection.execute("insert into t values (1)")


@error("grpc._channel")  # which a process imports that makes a channel
def grpc_unavailable(_: Any) -> None:
    import grpc

    with grpc.insecure_channel("127.0.0.1:1") as channel:
        channel.unary_unary("/s/m")(b"", timeout=0.5)


simple(
    "cryptography.exceptions",
    signature=lambda m: m.InvalidSignature(),
    unsupported=lambda m: m.UnsupportedAlgorithm("no", m._Reasons.UNSUPPORTED_CIPHER),
)
simple("cryptography.fernet", token=lambda m: m.InvalidToken())
simple("ssl", certificate=lambda m: m.SSLCertVerificationError(1, "certificate verify failed"))
simple("zlib", error=lambda m: m.error("Error -3"))
simple("lzma", error=lambda m: m.LZMAError("corrupt"))
simple("xml.parsers.expat", error=lambda m: m.ExpatError("not well-formed"))
simple("zoneinfo", missing=lambda m: m.ZoneInfoNotFoundError("No time zone found with key X"))
simple("decimal", invalid=lambda m: m.InvalidOperation([m.ConversionSyntax]))
simple("temporalio.exceptions", app=lambda m: m.ApplicationError("no", 1, type="T", non_retryable=True))
