"""What is kept of an exception, as plain data: `Fault`, and its bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure import errors
from perdure.core.values import codec

# Builtins come back as they were; an instance of a class has no annotation here that says what to make of it.
VALUES = codec.plan(Any, owner="an exception")


_LONGEST_LINE = 20_000


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of an exception.

    Attributes:
        module, qualname: its class, as a label to compare with, never to look up.
        bases: the labels of its base classes, in method resolution order, up to Exception.
        message: what str() gave.
        args: each argument packed (`attached`); empty where it could not be stored.
        reprs: the repr() of those that could not, by their position.
        attributes: what was in its `__dict__`, packed.
        slots: what Python's own classes keep elsewhere (such as OSError.errno), packed.
        responses: attributes that held an HTTP response, in state files of before: what is kept of it, packed.
        objects: attributes that held another object, in state files of before: what is kept of its attributes, packed.
        errors: attributes that held an exception, such as `orig`; of `args`, by "args[0]".
        same: of those, which are the exception that stands under another name too, such as "__cause__".
        class_attributes: what the attributes of its classes hold, packed; for where the class is not loaded.
        properties: what its properties give, packed.
        aliases: the properties that give what an attribute holds, and the name of that.
        answers: what methods give that take no arguments, packed (`class_contents`).
        validation: what pydantic's ValidationError is made of, packed.
        lost: the names of attributes that could not be stored.
        notes: what add_note() was given.
        traceback: the formatted traceback, the causes included; for people only.
        cause, context, suppressed: how it came from another exception; `suppressed` is `__suppress_context__`.
        members: the exceptions in an ExceptionGroup.
        shortened: it says less than the exception did, since that held more text than is kept (`to_fault`).
    """

    module: str
    qualname: str
    bases: list[tuple[str, str]]
    message: str
    args: list[bytes] = []
    reprs: dict[int, str] = {}
    attributes: dict[str, bytes] = {}
    slots: dict[str, bytes] = {}
    responses: dict[str, bytes] = {}
    objects: dict[str, bytes] = {}
    errors: dict[str, Fault] = {}
    same: dict[str, str] = {}
    class_attributes: dict[str, bytes] = {}
    properties: dict[str, bytes] = {}
    aliases: dict[str, str] = {}
    answers: dict[str, bytes] = {}
    validation: bytes = b""
    lost: list[str] = []
    notes: list[str] = []
    traceback: str = ""
    cause: Fault | None = None
    context: Fault | None = None
    suppressed: bool = False
    members: list[Fault] = []
    shortened: bool = False

    @property
    def line(self) -> str:
        """The class and the first line of the message."""
        first = self.message.partition("\n")[0][:_LONGEST_LINE]
        return f"{self.name}: {first}" if first else self.name

    @property
    def name(self) -> str:
        """The class's own name, without module and enclosing scopes."""
        return self.qualname.rpartition(".")[2]


def encode(fault: Fault) -> bytes:
    """`fault` as bytes."""
    return msgspec.msgpack.encode(fault)


def decode(data: bytes) -> Fault:
    """The fault that `encode` wrote.

    Raises:
        errors.NotDecodable: the bytes are not a fault.
    """
    try:
        return msgspec.msgpack.decode(data, type=Fault)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as failed:
        raise errors.NotDecodable(
            f"a saved exception cannot be read back ({type(failed).__name__}: {failed})",
            "check the state file with `perdure doctor`: it holds damaged data",
        ) from failed
