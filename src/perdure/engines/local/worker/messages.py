"""What the supervisor and its executors tell each other, a line of JSON each."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import msgspec

LONGEST = 16 << 20
"""Bytes of a message."""


class Message(msgspec.Struct, frozen=True, tag_field="type"):
    """One line."""


# -- from the supervisor ----------------------------------------------------------------------------------------------


class Orders(Message, frozen=True, tag="orders"):
    """What an executor is for; the first message it gets.

    Attributes:
        state: the path of the state file.
        scripts: the paths of the scripts.
        modules: the names of modules.
        folder: where modules are looked for first, if there are any.
        queues: the only queues whose runs it claims; empty: all.
        slots: how many runs it executes at a time.
        once: it ends when nothing is left to do.
        suspects: it executes only runs that one more death would make a crash loop, and ends when there are no more.
        line: it executes only runs of this command line, packed, with which it loads the scripts, and ends when there
            are no more; None: it loads them without.
        pause: seconds in which it claims nothing, since the clock has jumped.
    """

    state: str
    scripts: list[str]
    modules: list[str]
    folder: str
    queues: list[str]
    slots: int
    once: bool = False
    suspects: bool = False
    line: bytes | None = None
    pause: float = 0.0


class Look(Message, frozen=True, tag="look"):
    """There may be something to claim; `dead`: also runs of processes that have died. `serial` numbers the looks."""

    dead: bool = False
    serial: int = 0


class Pause(Message, frozen=True, tag="pause"):
    """Claim nothing for so many seconds: the clock has jumped."""

    seconds: float


class Retire(Message, frozen=True, tag="retire"):
    """Claim nothing more, and end when what is executed has ended: there is newer code."""


class Leave(Message, frozen=True, tag="leave"):
    """Give the runs back at their next safe point, and end within so many seconds."""

    grace: float


class Ask(Message, frozen=True, tag="ask"):
    """Are you there?"""


# -- from an executor -------------------------------------------------------------------------------------------------


class Found(msgspec.Struct, frozen=True):
    """A workflow that was loaded: the identity of its script, its name, the path, and the addresses of its alerts.

    `lock` is the name of the lock that its runs take, if any. An `imported` one is defined elsewhere, and is found once
    more as what the script has of that name.
    """

    script: str
    name: str
    path: str
    alerts: list[str]
    lock: str | None = None
    imported: bool = False


class Broken(msgspec.Struct, frozen=True):
    """A script that cannot be loaded: path, identity, why, in a line and in full, and the digest of its file."""

    path: str
    script: str
    why: str
    traceback: str
    digest: str = ""


class Loaded(Message, frozen=True, tag="loaded"):
    """The scripts are loaded, as far as they can be, and runs are claimed from now on.

    `files` are the files that make up the programs, each with the digest of what was executed, which is empty if it may
    have been edited meanwhile. `token` is what the process goes by in the state file.
    """

    workflows: list[Found]
    broken: list[Broken]
    files: dict[str, str]
    token: str


class Files(Message, frozen=True, tag="files"):
    """More files were loaded."""

    files: dict[str, str]


class Idle(Message, frozen=True, tag="idle"):
    """Nothing is executed, and nothing was found to claim at the look of that number.

    `bad`: how many runs have not ended well, or are on hold; `claims`: how many were claimed so far.
    """

    bad: int
    serial: int = 0
    claims: int = 0


class Suspects(Message, frozen=True, tag="suspects"):
    """There are so many runs that one more death would make a crash loop: each is to be executed apart."""

    count: int


class Lines(Message, frozen=True, tag="lines"):
    """There are runs to be gone on with of these command lines, packed: for executors that are loaded with them."""

    lines: list[bytes]


class Here(Message, frozen=True, tag="here"):
    """The answer to Ask."""


class Unusable(Message, frozen=True, tag="unusable"):
    """The executor cannot go on, and ends: why. `lasts` unless another one may be able to in a moment."""

    why: str
    lasts: bool = True


FromSupervisor = Orders | Look | Pause | Retire | Leave | Ask
FromExecutor = Loaded | Files | Idle | Suspects | Lines | Here | Unusable

_from_supervisor = msgspec.json.Decoder(FromSupervisor)
_from_executor = msgspec.json.Decoder(FromExecutor)


def send(to: socket.socket, message: Message) -> bool:
    """Send a message; returns whether the other side was there. Never blocks for long: the messages are short."""
    with suppress(OSError):
        to.sendall(msgspec.json.encode(message) + b"\n")
        return True
    return False


def of_supervisor(source: socket.socket) -> Iterator[FromSupervisor]:
    """The messages of the supervisor, until it has gone."""
    for line in _lines(source):
        yield _from_supervisor.decode(line)


def of_executor(source: socket.socket) -> Iterator[FromExecutor]:
    """The messages of an executor, until it has gone."""
    for line in _lines(source):
        with suppress(msgspec.DecodeError):
            yield _from_executor.decode(line)


def _lines(source: socket.socket) -> Iterator[bytes]:
    with suppress(OSError), source.makefile("rb") as file:
        while line := file.readline(LONGEST):
            if not line.endswith(b"\n"):
                return  # its end was cut off
            yield line
