"""Exceptions of databases, file formats and tools."""

from __future__ import annotations

from typing import Any

from library_error_makers import error, simple

simple(
    "psycopg",
    operational=lambda m: m.OperationalError("closed"),
    unique=lambda m: m.errors.UniqueViolation("duplicate"),
)
simple(
    "asyncpg",
    unique=lambda m: m.UniqueViolationError("duplicate"),
    interface=lambda m: m.InterfaceError("closed", detail="d", hint="h"),
    new=lambda m: m.PostgresError.new({"S": "ERROR", "C": "23505", "M": "duplicate key", "n": "uq"}),
)
simple(
    "sqlalchemy.exc",
    integrity=lambda m: m.IntegrityError("INSERT", {"a": 1}, ValueError("orig")),
    missing=lambda m: m.NoResultFound("none"),
    argument=lambda m: m.ArgumentError("x", code="f405"),
)
simple(
    "paramiko",
    password=lambda m: m.BadAuthenticationType("bad", ["publickey"]),
    proxy=lambda m: m.ProxyCommandFailure("cmd", 1),
    port=lambda m: m.ssh_exception.NoValidConnectionsError({("h", 22): OSError(111, "refused")}),
    host=lambda m: m.ssh_exception.ChannelException(2, "no"),
)


@error("jsonschema")
def jsonschema_validation(jsonschema: Any) -> None:
    jsonschema.validate({"a": "x"}, {"properties": {"a": {"type": "number"}}})


@error("yaml")
def yaml_scanner(yaml: Any) -> None:
    yaml.safe_load("a: b: c")


@error("toml")
def toml_decode(toml: Any) -> None:
    toml.loads("a = ")


@error("tomllib")
def tomllib_decode(tomllib: Any) -> None:
    tomllib.loads("a = ")


@error("json")
def json_decode(json: Any) -> None:
    json.loads("{")


@error("jinja2")
def jinja2_syntax(jinja2: Any) -> None:
    jinja2.Template("{% if %}")


@error("jinja2")
def jinja2_undefined(jinja2: Any) -> None:
    jinja2.Environment(undefined=jinja2.StrictUndefined).from_string("{{ a }}").render()


simple(
    "click",
    usage=lambda m: m.UsageError("bad"),
    parameter=lambda m: m.BadParameter("no", param_hint="--x"),
    file=lambda m: m.FileError("f", "gone"),
)
simple(
    "celery.exceptions",
    retry=lambda m: m.Retry("again", ValueError("x"), 3),
    limit=lambda m: m.SoftTimeLimitExceeded(3),
    lost=lambda m: m.WorkerLostError("lost", 9),
    registered=lambda m: m.NotRegistered("tasks.add"),
)
simple("kombu.exceptions", operational=lambda m: m.OperationalError("no"), http=lambda m: m.HttpError(500, "x", None))


@error("tenacity")
def tenacity_retry(tenacity: Any) -> None:
    def fail() -> None:
        raise ValueError("x")

    tenacity.retry(stop=tenacity.stop_after_attempt(1))(fail)()


@error("numpy")
def numpy_linalg(numpy: Any) -> None:
    numpy.linalg.inv(numpy.zeros((2, 2)))


@error("numpy")
def numpy_axis(numpy: Any) -> None:
    numpy.zeros(3).sum(axis=4)


@error("numpy")
def numpy_dtype(numpy: Any) -> None:
    numpy.add(numpy.array(["a"], "M8[s]"), 1.5)


@error("pandas")
def pandas_parser(pandas: Any) -> None:
    import io

    pandas.read_csv(io.StringIO(""))


simple(
    "pandas.errors",
    merge=lambda m: m.MergeError("x"),
    abstract=lambda m: m.AbstractMethodError(3),
    undefined=lambda m: m.UndefinedVariableError("a"),
)
simple("attr.exceptions", frozen=lambda m: m.FrozenInstanceError(), type=lambda m: m.NotCallableError("m", 3))
simple(
    "subprocess",
    called=lambda m: m.CalledProcessError(3, ["x"], b"out", b"err"),
    late=lambda m: m.TimeoutExpired("x", 3),
)
simple("asyncio", incomplete=lambda m: m.IncompleteReadError(b"a", 3), overrun=lambda m: m.LimitOverrunError("m", 3))
simple("concurrent.futures.process", broken=lambda m: m.BrokenProcessPool("x"))
simple("configparser", duplicate=lambda m: m.DuplicateOptionError("s", "o", "src", 3))
simple("dataclasses", frozen=lambda m: m.FrozenInstanceError("cannot assign"))
simple(
    "smtplib",
    refused=lambda m: m.SMTPRecipientsRefused({"a@b": (550, b"no")}),
    data=lambda m: m.SMTPDataError(554, b"x"),
)
simple("email.errors", header=lambda m: m.HeaderParseError("x"))
simple("re", pattern=lambda m: m.error("bad", "a(", 1))
simple("struct", error=lambda m: m.error("x"))
simple("zipfile", bad=lambda m: m.BadZipFile("x"))
simple("socket", name=lambda m: m.gaierror(-2, "Name or service not known"))
