"""Exceptions of classes that cannot simply be made again: each is caught as on the first run."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import botocore.client
import botocore.exceptions
import botocore.session
import pydantic
import pydantic_core
import pytest

from perdure.core.exceptions import capture, rebuild
from perdure.core.exceptions.fault import VALUES


def again(exc: Exception) -> Any:
    """As read back from the file."""
    return capture.restore(capture.decode(capture.encode(capture.to_fault(exc))))


class Answer(pydantic.BaseModel):
    n: int
    tags: list[str]


def invalid(build: Any) -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        build()
    return caught.value


def odd(value: int) -> int:
    raise ValueError(f"{value} is {{odd}}")


def late(value: int) -> int:
    raise pydantic_core.PydanticCustomError("too_late", "late by {days} days", {"days": 3})


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


VALIDATIONS = [
    lambda: Answer.model_validate_json('{"n": "many", "tags": [1]}'),
    lambda: Answer.model_validate({"n": Opaque(), "tags": None}),
    lambda: pydantic.TypeAdapter(pydantic.conint(gt=3)).validate_python(1),
    lambda: pydantic.TypeAdapter(pydantic.types.Annotated[int, pydantic.AfterValidator(odd)]).validate_python(1),
    lambda: pydantic.TypeAdapter(pydantic.types.Annotated[int, pydantic.AfterValidator(late)]).validate_python(1),
]


@pytest.mark.parametrize("build", VALIDATIONS)
def test_a_validation_error_of_pydantic_is_one_on_resume(build: Any) -> None:
    """Written in Rust, with no constructor: class, text, title and lines are the same, whatever the input was."""
    first = invalid(build)
    back = again(first)
    assert type(back) is pydantic.ValidationError
    assert str(back).split("For further")[0] == str(first).split("For further")[0]
    assert back.title == first.title
    assert [(e["type"], e["loc"], e["msg"]) for e in back.errors()] == [
        (e["type"], e["loc"], e["msg"]) for e in first.errors()
    ]
    assert back.args == first.args
    assert str(again(back)) == str(back)


def test_damaged_lines_of_a_validation_error_are_still_a_failure() -> None:
    """Whatever the bytes say, an exception comes back that the nearest base catches."""
    fault = capture.to_fault(invalid(VALIDATIONS[0]))
    for content in ([], {"title": 1}, {"title": "t", "kind": "python", "hide": False, "lines": [{"type": "\0"}]}):
        damaged = capture.decode(capture.encode(fault))
        damaged = capture.Fault(
            **{name: getattr(damaged, name) for name in damaged.__struct_fields__}
            | {"validation": VALUES.pack(content)}
        )
        assert isinstance(capture.restore(damaged), ValueError)


@pytest.mark.parametrize(
    "exc",
    [
        pydantic_core.PydanticKnownError("greater_than", {"gt": 4}),
        pydantic_core.PydanticCustomError("kind", "at {place}", {"place": 4}),
        pydantic_core.PydanticSerializationError("cannot"),
        pydantic_core.PydanticOmit(),
    ],
)
def test_a_class_in_c_that_wants_its_arguments_is_made_with_them(exc: Exception) -> None:
    """Its own `__new__`, which is no Python code, is given what `args` holds."""
    back = again(exc)
    assert type(back) is type(exc)
    assert (str(back), back.args) == (str(exc), exc.args)


class Base(Exception):
    pass


class Marked(Exception):
    pass


def gone() -> Exception:
    """An exception of a class below several that no longer exists when it is read back."""

    class Gone(Base, Marked, LookupError):
        pass

    return Gone("x")


def test_a_class_that_is_not_loaded_is_caught_by_each_of_its_bases() -> None:
    """`except Marked` catches what it caught, though the class in between is gone."""
    gc.freeze()  # no need to look through what is there already
    data = capture.encode(capture.to_fault(gone()))
    gc.collect()
    back = capture.restore(capture.decode(data))
    for base in (Base, Marked, LookupError):
        assert isinstance(back, base)
    assert (type(back).__name__, str(back)) == ("Gone", "x")


def client() -> Any:
    return botocore.session.Session().create_client(
        "sqs", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y"
    )


def test_an_error_that_each_client_defines_for_itself_is_caught_by_the_clause_of_each() -> None:
    """botocore makes its error classes anew for each client; the handler may name the older client's."""
    older, newer = client(), client()
    assert older.exceptions.QueueDoesNotExist is not newer.exceptions.QueueDoesNotExist
    first = older.exceptions.QueueDoesNotExist({"Error": {"Code": "gone", "Message": "m"}}, "GetQueueUrl")
    back = again(first)
    assert isinstance(back, older.exceptions.QueueDoesNotExist)
    assert isinstance(back, newer.exceptions.QueueDoesNotExist)
    assert back.response["Error"]["Code"] == "gone"


class Driver(Exception):
    """As those of database drivers, which keep the exception below and an object that says more."""

    def __init__(self, text: str, orig: Exception, diag: object) -> None:
        super().__init__(text, orig)
        self.orig = orig
        self.diag = diag


class Diagnosis:
    __slots__ = ("constraint", "handle")

    def __init__(self) -> None:
        self.constraint = "uq_order"
        self.handle = object()


def test_handlers_decide_by_what_hangs_on_an_exception() -> None:
    """An exception inside of one comes back as an exception, an object with the plain attributes that it had."""
    back = again(Driver("duplicate", OSError(111, "refused"), Diagnosis()))
    assert isinstance(back.orig, ConnectionRefusedError)
    assert back.orig.errno == 111
    assert back.args[1] is back.orig
    assert back.diag.constraint == "uq_order"
    with pytest.raises(AttributeError, match="without 'handle'"):
        _ = back.diag.handle
    raised = Driver("duplicate", OSError(111, "refused"), Diagnosis())
    raised.__cause__ = raised.orig
    back = again(raised)
    assert back.__cause__ is back.orig


def test_nothing_of_the_users_runs_when_an_exception_is_made_again() -> None:
    """Neither `__new__` nor `__init__` nor a property that is written in Python."""
    ran: list[str] = []

    class Loud(Exception):
        def __new__(cls, *args: Any) -> Any:
            ran.append("new")
            return super().__new__(cls, *args)

        def __init__(self, *args: Any) -> None:
            ran.append("init")

        @property
        def code(self) -> int:
            ran.append("code")
            return 3

    exc = Loud("x")
    data = capture.encode(capture.to_fault(exc))
    ran.clear()
    assert type(capture.restore(capture.decode(data))) is Loud
    assert ran == []


def test_a_group_of_a_class_of_ones_own_comes_back() -> None:
    """With its members, of their classes."""

    class Several(ExceptionGroup[Exception]):
        pass

    back = again(Several("both", [Base("a"), pickle.PicklingError("b")]))
    assert type(back) is Several
    assert [type(each) for each in back.exceptions] == [Base, pickle.PicklingError]
    assert rebuild.label(type(back))[1].endswith("Several")


def test_what_is_added_to_a_validation_error_stays_with_it() -> None:
    """Notes, and the context of a line: an error in it is a text, but for kinds of lines whose error pydantic shows."""

    def refused(value: int) -> int:
        raise pydantic_core.PydanticCustomError("refused", "refused: {error}", {"error": "by hand"})

    first = invalid(lambda: pydantic.TypeAdapter(pydantic.types.Annotated[int, pydantic.AfterValidator(refused)])
                    .validate_python(1))  # fmt: skip
    first.add_note("row 7")
    back = again(first)
    assert back.__notes__ == ["row 7"]
    assert back.errors()[0]["ctx"] == {"error": "by hand"}
    plain = invalid(lambda: pydantic.TypeAdapter(pydantic.types.Annotated[int, pydantic.AfterValidator(odd)])
                    .validate_python(1))  # fmt: skip
    assert isinstance(again(plain).errors()[0]["ctx"]["error"], type(plain.errors()[0]["ctx"]["error"]))
