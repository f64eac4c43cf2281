"""What crosses between a process that executes runs and those that make attempts for it.

Everything goes through pipes and sockets between processes of one user, in the journal's own format. It is not stored.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import msgspec

from perdure.core.exceptions.program_faults import Suspicion
from perdure.core.tick_verdicts import RunTick

LENGTH: Final = struct.Struct("<Q")
"""A frame on the data socket is its length and as many bytes."""

REPLY: Final = struct.Struct("<Bi")
"""On the pipe of a child's state: a `State`, and a number that belongs to it."""

REQUEST: Final = struct.Struct("<BQ")
"""To a template: FORK or KILL, and the number of the child; FORK comes with four descriptors."""

FORK: Final = 1
KILL: Final = 2

CHUNK: Final = 1 << 18

LINE_PART: Final = 1 << 16
"""Bytes of a command line that go into one message to a template."""


class State(IntEnum):
    """What has become of a child that was asked for."""

    STARTED = 1
    """It is there; with its process id."""
    ENDED = 2
    """It has ended; with its exit code, negative for a signal."""
    EDITED = 3
    """There is none: a file of the script was edited since the template has loaded it."""
    UNLIKE = 4
    """There is none: a copy of the template would not be like a process that has loaded the script itself."""
    FAILED = 5
    """There is none: the system gives no process; with its error number."""


class Start(msgspec.Struct, frozen=True):
    """What a template is to become: of which module, of what file; `load`: it loads that itself.

    `logs` says what it logs for others, `parent` is the process that it serves, `path` the list of
    folders to import from. The command line follows in so many messages (`line`), for it may be long.
    """

    module: str
    file: bytes
    path: list[bytes]
    parent: int
    load: bool
    logs: int
    line: int


class Setup(msgspec.Struct, frozen=True):
    """What a child is to be like: the module that it serves, folders to import from, working directory, environment,
    and what it sees as its command line.

    `levels` are those of loggers, by name; "" is the root. `logs` says what it logs for others.
    """

    module: str
    file: bytes
    path: list[bytes]
    folder: bytes
    environment: list[tuple[bytes, bytes]]
    levels: list[tuple[str, int]]
    logs: int
    line: list[bytes]


class OrderingRun(msgspec.Struct, frozen=True):
    """The run that an attempt is part of.

    Attributes:
        id, workflow: the run.
        script: its file, which may make a step of another module's function; empty: there is none.
        artifacts: the folder of large data, if there is one.
        publishes: what the attempt publishes is shown with the run.
        keeps: what the attempt prints is kept with it.
        tick: what the run was made for.
    """

    id: str
    workflow: str
    script: bytes
    artifacts: bytes
    publishes: bool
    keeps: bool
    tick: RunTick | None


class Order(msgspec.Struct, frozen=True):
    """An attempt that a child is to make.

    Attributes:
        name: of the step, as it is in the journal.
        defined_as: its name in the script.
        qualname: of its function.
        input: the packed arguments.
        key, n: what identifies the call.
        attempt: the number of the attempt.
        mark: of the programs that it starts.
        last: it is the only one for this process.
        run: what the attempt is part of.
    """

    name: str
    defined_as: str
    qualname: str
    input: bytes
    key: bytes
    n: int
    attempt: int
    mark: str
    last: bool
    run: OrderingRun


ANSWER: Final = b"A"
NOTE: Final = b"N"
READY: Final = b"R"
"""The first byte of what a child sends: that it has loaded its script, notes during the attempt, its answer."""


class Printed(msgspec.Struct, frozen=True, tag=True):
    """The attempt has printed or logged a line, which stands where the child's own streams and handlers lead."""

    level: str
    logger: str
    text: str


class Logged(msgspec.Struct, frozen=True, tag=True):
    """The attempt has logged a line for which the child has no handler: it is for those of who has ordered it."""

    logger: str
    level: int
    text: str
    path: str
    line: int
    function: str
    created: float


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """How far the attempt is."""

    done: float
    total: float | None
    note: str


class Published(msgspec.Struct, frozen=True, tag=True):
    """The attempt publishes a packed value of its run; `soon`: together with the next commit will do."""

    name: str
    value: bytes
    soon: bool


class Unsaved(msgspec.Struct, frozen=True, tag=True):
    """A step was called inside another, at a line: that is said where the attempt was ordered, and kept there."""

    step: str
    around: str
    line: str


Note = Unsaved | Printed | Logged | Progressed | Published


class Answer(msgspec.Struct, frozen=True):
    """How an attempt went: the packed result, or the packed fault.

    `program`: how surely the program is at fault, which the traceback says, and that stays behind.
    """

    ok: bool
    payload: bytes
    program: Suspicion = "none"


def folders() -> list[bytes]:
    """What is imported from here, as another process is to be told."""
    return [os.fsencode(each) for each in sys.path if isinstance(each, str)]


def import_from(path: Iterable[bytes]) -> None:
    """Import from these folders from now on."""
    sys.path[:] = map(os.fsdecode, path)


def read_frame(connection: socket.socket) -> bytearray | None:
    """The next frame, waited for; None if the other side has closed.

    Raises:
        OSError: the other side is gone.
    """
    head = _read(connection, LENGTH.size)
    return None if head is None else _read(connection, LENGTH.unpack(head)[0])


def _read(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        got = connection.recv_into(view[done:])
        if not got:
            return None
        done += got
    return data


def frame(body: bytes) -> bytes:
    """The body as a frame."""
    return LENGTH.pack(len(body)) + body
