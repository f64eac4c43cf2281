"""What is written down: the rows of the journal, and their checksums."""

from __future__ import annotations

from typing import Final, Literal
from zlib import crc32

import msgspec

StepKind = Literal["step", "builtin", "defer", "undo", "deferred", "undone", "timers"]
"""What a record is about, whatever its name says.

`step`: a call of a step or of a child workflow. `builtin`: a call of a step of perdure's own, such as `perdure.now`.
`defer` and `undo` are notes: a call to be made when the run ends, and a call that can be taken back. `deferred` and
`undone` are the clean-ups that were made of them, under the names `defer:STEP` and `undo:STEP`. `timers` is a
note too: which timers of an async workflow fired, and after which records.
"""
StepStatus = Literal["done", "failed", "dead", "abandoned"]
"""How a call has ended. `abandoned`: the workflow gave it up (a timeout, a race that another call won)."""
RunStatus = Literal["running", "failed", "parked", "done", "cancelled"]

CLEAN_UPS: Final = ("deferred", "undone")
"""The kinds of clean-ups: no call of the workflow's own claims their records."""

RESERVED: Final = "perdure."
STOPPED: Final = "perdure.stopped"
"""The name of the attempt row that says what interrupted a run: it is about no step."""
NO_KEY: Final = bytes(16)
"""How the names of perdure's own steps begin; no name of a user's does."""
DEFER_NOTE: Final = "perdure.defer"
DEFER_EVERY_NOTE: Final = "perdure.defer_every_end"
UNDO_NOTE: Final = "perdure.undo"
TIMERS_NOTE: Final = "perdure.timers"

OWN_MODULE: Final = "__main__"
"""How a run records the module of its own workflow, which may be renamed."""


class Place(msgspec.Struct, frozen=True):
    """Whose function it is: its module, by the name that `import` gives it, and its qualified name there."""

    module: str
    qualname: str


class FunctionRecord(msgspec.Struct, frozen=True):
    """The function that a run calls under a name. `file` is relative to the folder of the run's script, or absolute."""

    kind: StepKind
    name: str
    module: str
    qualname: str
    file: str
    crc: int

    def intact(self) -> bool:
        """Does it match the checksum that was stored with it?"""
        return self.crc == function_checksum(self.kind, self.name, self.module, self.qualname, self.file)


_PREFIXES = {"deferred": "defer:", "undone": "undo:"}

Row = tuple[int, int, str, bytes, int, str, bytes, bytes, float, int, int, int, str]
"""A row of the step table, in the order of its columns. Their numbers follow: a NamedTuple costs 0.6 us more a step."""

RUN: Final = 0
SEQ: Final = 1
NAME: Final = 2
KEY: Final = 3
N: Final = 4
STATUS: Final = 5
INPUT: Final = 6
OUTPUT: Final = 7
STARTED: Final = 8
MS: Final = 9
ATTEMPTS: Final = 10
CRC: Final = 11
KIND: Final = 12


class StepRecord(msgspec.Struct, frozen=True, gc=False):
    """A call that the workflow has moved past.

    `key` is 16 bytes; `n` counts how often name + key came before in this run; `output` is the packed result, or
    the packed fault if the status is not "done". `started` is in seconds since the epoch, `ms` in milliseconds.
    """

    seq: int
    name: str
    key: bytes
    n: int
    status: StepStatus
    input: bytes
    output: bytes
    started: float
    ms: int
    attempts: int
    crc: int
    kind: StepKind

    def intact(self) -> bool:
        """Do the payloads match the checksum that was stored with them?"""
        return self.crc == step_checksum(self.kind, self.name, self.key, self.n, self.status, self.input, self.output)


class AttemptRecord(msgspec.Struct, frozen=True, gc=False):
    """One try that failed. `epoch` is how often the run had failed before; `error` is the packed fault."""

    epoch: int
    name: str
    key: bytes
    n: int
    number: int
    counted: bool
    input: bytes
    error: bytes
    started: float
    ms: int
    crc: int

    def intact(self) -> bool:
        """Do the payloads match the checksum that was stored with them?"""
        return self.crc == attempt_checksum(self.name, self.key, self.n, self.number, self.input, self.error)


class RunRecord(msgspec.Struct, frozen=True):
    """A run. `path` is where its script was last seen; `parent` and `holder` are row numbers.

    `stop` is when its end was asked for, in seconds since the epoch. `forked_from` is the run that it was forked from,
    with the records below the number `forked_at`; those from there up to `forked_last` are of what that run did behind
    this point. `superseded_by` is the newest fork of it.
    """

    rid: int
    id: str
    script: str
    path: str
    workflow: str
    key: bytes
    named: bool
    parent: int | None
    status: RunStatus
    holder: int | None
    epoch: int
    input: bytes
    output: bytes | None
    created: float
    started: float
    ended: float | None
    crc: int
    stop: float | None = None
    forked_from: int | None = None
    forked_at: int | None = None
    forked_last: int | None = None
    superseded_by: int | None = None

    @property
    def superseded(self) -> bool:
        """Does a fork stand on what it has done, so that it is not gone on with any more?"""
        return self.superseded_by is not None and self.status not in ("done", "cancelled")

    def intact(self) -> bool:
        """Do the payloads match the checksum that was stored with them?"""
        return self.crc == run_checksum(self.id, self.workflow, self.key, self.status, self.input, self.output)


def step_checksum(kind: str, name: str, key: bytes, n: int, status: str, given: bytes, output: bytes) -> int:
    """CRC-32 over everything that replay relies on.

    A `step` adds nothing for its kind: its checksum is the one of state files of version 1, which had no kinds.
    """
    about = f"{name}\0{n}\0{status}" if kind == "step" else f"{name}\0{n}\0{status}\0{kind}"
    return crc32(output, crc32(given, crc32(key, crc32(about.encode()))))


def function_checksum(kind: str, name: str, module: str, qualname: str, file: str) -> int:
    """CRC-32 over everything that a later call relies on."""
    return crc32("\0".join((kind, name, module, qualname, file)).encode("utf-8", "surrogateescape"))


def clean_up_name(kind: str, step: str) -> str:
    """The name of the records of a step's clean-ups."""
    return _PREFIXES[kind] + step


def called_step(kind: str, name: str) -> str:
    """The name of the step that was called, of a record of that kind and name."""
    return name.removeprefix(_PREFIXES[kind]) if kind in CLEAN_UPS else name


def attempt_checksum(name: str, key: bytes, n: int, number: int, given: bytes, error: bytes) -> int:
    """CRC-32 over everything that is shown or counted."""
    return crc32(error, crc32(given, crc32(key, crc32(f"{name}\0{n}\0{number}".encode()))))


def run_checksum(id: str, workflow: str, key: bytes, status: str, given: bytes, output: bytes | None) -> int:
    """CRC-32 over everything that a later start relies on."""
    return crc32(output or b"", crc32(given, crc32(key, crc32(f"{id}\0{workflow}\0{status}".encode()))))
