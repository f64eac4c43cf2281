"""Exceptions as data, and back: what a handler reads from the class, where a later life has not imported that."""

from __future__ import annotations

import enum
import functools
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from raised_errors import again

from perdure.core.exceptions import capture
from perdure.core.exceptions.capture import restore, to_fault
from perdure.core.exceptions.recorded_objects import NotRecorded


class Kind(enum.Enum):
    UNIQUE = "23505"


class Diagnostic:
    def __init__(self, constraint: str) -> None:
        self._constraint = constraint

    @property
    def constraint_name(self) -> str:
        return self._constraint

    @property
    def broken(self) -> str:
        raise OSError("the connection is closed")


class Refused(Exception):
    """As drivers and clients have them: what the error is stands in the class, or is worked out."""

    sqlstate = "23505"
    kind = Kind.UNIQUE
    retryable: tuple[str, ...] = ("40001",)
    logger = warnings  # no data
    _private = "p"

    def __init__(self, row: int, token: str = "") -> None:
        super().__init__(f"duplicate row {row}")
        self._row = row
        self._answer = {"row": row}
        self._token = token

    @property
    def row(self) -> int:
        return self._row

    @property
    def answer(self) -> dict[str, int]:
        return self._answer

    @property
    def token(self) -> str:
        return "s3cr3t" + self._token

    @functools.cached_property
    def fields(self) -> list[str]:
        return ["email"]

    @property
    def code(self) -> int:
        warnings.warn("use status", FutureWarning, stacklevel=2)
        return 409

    @property
    def diag(self) -> Diagnostic:
        return Diagnostic("uq_email")

    @property
    def broken(self) -> str:
        raise OSError("the connection is closed")

    def explain(self) -> str:
        return self.sqlstate


def elsewhere(exc: Exception) -> Exception:
    """`exc` in a process that has not imported the module of its class."""
    return restore(msgspec.structs.replace(capture.decode(capture.encode(to_fault(exc))), module="driver.errors"))


def kept(exc: Any) -> dict[str, Any]:
    names = ("sqlstate", "kind", "retryable", "row", "answer", "fields", "code")
    return {name: getattr(exc, name) for name in names} | {"diag": exc.diag.constraint_name}


def test_what_lies_in_a_class_that_was_not_imported_is_read_as_before() -> None:
    """Attributes of the class, properties, and what hangs on these; without a warning of what perdure has read."""
    exc = Refused(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = elsewhere(exc)
    assert not isinstance(back, Refused)
    with pytest.warns(FutureWarning):
        expected = kept(exc)
    assert kept(back) == expected
    assert back.kind is Kind.UNIQUE  # type: ignore[attr-defined]
    assert "fields" not in vars(Refused(4))


@pytest.mark.parametrize(
    ("errors", "other", "opened"), [("lib", "lib.errors", True), ("lib.errors", "lib", True), ("lib.a", "lib.b", False)]
)
def test_what_a_property_gives_is_opened_if_it_belongs_to_the_errors(errors: str, other: str, opened: bool) -> None:
    """A library shows its errors under a name above the module in which they are. Objects of other parts may work when
    they are read, as a client's."""

    class Client:
        def __init__(self) -> None:
            self._id = 3

        @property
        def number(self) -> int:
            return self._id

    class Failed(Exception):
        @property
        def source(self) -> Client:
            return Client()

    Failed.__module__, Client.__module__ = errors, other
    source: Any = elsewhere(Failed()).source  # type: ignore[attr-defined]
    assert getattr(source, "number", None) == (3 if opened else None)


def test_it_is_kept_over_several_processes() -> None:
    """An isolated step's error is recorded where it was raised, and again where the run is."""
    back = elsewhere(elsewhere(Refused(3)))
    assert (back.sqlstate, back.row, back.diag.constraint_name) == ("23505", 3, "uq_email")  # type: ignore[attr-defined]


def test_credentials_in_it_are_hidden() -> None:
    """As in attributes: a text under the name of a secret."""
    data = capture.encode(to_fault(Refused(3, "abc")))
    assert b"s3cr3t" not in data
    assert elsewhere(Refused(3)).token == "***"  # type: ignore[attr-defined]


def test_what_cannot_be_read_is_missing_with_a_word_about_it() -> None:
    """A property that fails, an object that is no data, and a method."""
    back: Any = elsewhere(Refused(3))
    for name in ("broken", "logger", "explain"):
        assert not hasattr(back, name)
        with pytest.raises(NotRecorded, match=r"not imported its class: import driver.errors in the script"):
            getattr(back, name)
    assert not hasattr(back.diag, "broken")


def test_what_is_kept_is_bounded() -> None:
    """A class may hold tables; they are left out, and what is small is kept."""

    class Wide(Exception):
        code = 7
        table = {str(number): "x" * 50 for number in range(10_000)}  # noqa: RUF012

    for number in range(100):
        setattr(Wide, f"name_{number}", "y" * 1_000)
    assert len(capture.encode(to_fault(Wide()))) < 25_000
    assert elsewhere(Wide()).code == 7  # type: ignore[attr-defined]


def test_a_class_that_is_loaded_counts_itself() -> None:
    """An edited class is read as it is now; nothing stands in for it."""

    class Local(Exception):
        code = 1

    fault = to_fault(Local())
    Local.code = 2
    back = restore(fault)
    assert type(back) is Local
    assert back.code == 2


def test_a_property_that_needs_what_was_lost_gives_what_it_gave() -> None:
    """Also where the class is loaded: it would fail there, and a handler would take another way."""

    class Held(Exception):
        def __init__(self, result: Any) -> None:
            super().__init__("held")
            self.result = result

        @property
        def state(self) -> str:
            return str(self.result.state())

    class Result:
        state: Callable[[], str] = staticmethod(lambda: "23505")

        __slots__ = ()

    back: Any = again(Held(Result()))
    assert isinstance(back, Held)
    assert back.state == "23505"
    assert back.with_traceback(None) is back


def test_the_status_of_a_call_over_grpc_is_asked_for_as_before() -> None:
    """It is no attribute, but a method; grpc's own class is imported once a channel is made, which is in the step."""

    class Call(Exception):
        def code(self) -> Kind:
            return Kind.UNIQUE

        def details(self) -> str:
            return "gone"

        def cancel(self) -> None:
            raise AssertionError("it is not to be called")

    Call.__module__, Call.__qualname__ = "grpc", "Call"

    class Inactive(Call):
        pass

    data = capture.encode(to_fault(Inactive()))
    del Call, Inactive
    fault = msgspec.structs.replace(capture.decode(data), module="grpc._channel", bases=[("builtins", "Exception")])
    back: Any = restore(fault)
    for one in (back, elsewhere(back)):
        assert (one.code(), one.details()) == (Kind.UNIQUE, "gone")  # type: ignore[attr-defined]
        with pytest.raises(NotRecorded, match="takes no arguments"):
            one.code(3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["__init__", "__class__", "with_traceback", "_perdure_lost", "no name", "split"])
def test_damaged_names_change_nothing(name: str) -> None:
    """What a file says to be an attribute of the class is one only under a name that a handler reads."""
    fault = to_fault(Refused(3))
    value = fault.class_attributes["sqlstate"]
    names = {name: value}
    back = restore(
        msgspec.structs.replace(
            fault, module="gone", class_attributes=names, properties=names, answers=names, aliases={name: "_row"}
        )
    )
    assert str(back.with_traceback(None)) == "duplicate row 3"
