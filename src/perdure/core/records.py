"""What is written down: the rows of the journal, and their checksums."""

from __future__ import annotations

from typing import Literal
from zlib import crc32

import msgspec

StepStatus = Literal["done", "failed", "dead"]
RunStatus = Literal["running", "failed", "parked", "done", "cancelled"]


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

    def intact(self) -> bool:
        """Do the payloads match the checksum that was stored with them?"""
        return self.crc == step_checksum(self.name, self.key, self.n, self.status, self.input, self.output)


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

    `stop` is when somebody asked for its end, in seconds since the epoch.
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

    def intact(self) -> bool:
        """Do the payloads match the checksum that was stored with them?"""
        return self.crc == run_checksum(self.id, self.workflow, self.key, self.status, self.input, self.output)


def step_checksum(name: str, key: bytes, n: int, status: str, given: bytes, output: bytes) -> int:
    """CRC-32 over everything that replay relies on."""
    return crc32(output, crc32(given, crc32(key, crc32(f"{name}\0{n}\0{status}".encode()))))


def attempt_checksum(name: str, key: bytes, n: int, number: int, given: bytes, error: bytes) -> int:
    """CRC-32 over everything that is shown or counted."""
    return crc32(error, crc32(given, crc32(key, crc32(f"{name}\0{n}\0{number}".encode()))))


def run_checksum(id: str, workflow: str, key: bytes, status: str, given: bytes, output: bytes | None) -> int:
    """CRC-32 over everything that a later start relies on."""
    return crc32(output or b"", crc32(given, crc32(key, crc32(f"{id}\0{workflow}\0{status}".encode()))))
