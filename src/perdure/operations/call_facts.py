"""What is known of a call besides its record: names of its inputs, its idempotency key, and where its code is."""

from __future__ import annotations

import os
import re
import stat
from hashlib import blake2b
from typing import Any

import msgspec

from perdure.core.exceptions import capture
from perdure.core.execution.idempotency import child_id
from perdure.core.function_code import CodeRow
from perdure.core.records import RunRecord, StepRecord
from perdure.errors import PerdureError
from perdure.operations.idempotency_keys import key_of
from perdure.store import code, listing, step_pages
from perdure.store.damaged_rows import if_sound
from perdure.store.runs import Store

AROUND = 3
"""Lines of an excerpt before the one that is meant, and after it."""

LARGEST = 1_000_000
"""Bytes of a file of which an excerpt is shown."""

_FRAME = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>[0-9]{1,7})\b', re.MULTILINE)


class Excerpt(msgspec.Struct, frozen=True):
    """Some lines of a source file, as it was when the call was made.

    `line` is the one that is meant: where the last attempt failed, or else where the function begins. `first` is the
    number of the first of `lines`. Without lines, `note` says why there are none.
    """

    file: str
    function: str
    line: int
    first: int
    lines: list[str]
    note: str = ""


class CallFacts(msgspec.Struct, frozen=True):
    """What is known of a call besides its record. `child` is the id of the run that it was, if it called a workflow.

    `idempotency_key` is what its last attempts had.
    """

    parameters: list[str]
    idempotency_key: str
    excerpt: Excerpt | None
    child: str | None


def call_facts(store: Store, run: RunRecord, record: StepRecord) -> CallFacts:
    """What is known of a call besides its record.

    Args:
        store: the state file.
        run: whose call it is.
        record: of the call.

    Raises:
        StateError: the file cannot be read.
    """
    functions = if_sound(lambda: store.journal.read(lambda at: code.of_run(at, run.rid, store.path)), dict[Any, Any])
    known: CodeRow | None = functions.get((record.kind, record.name))
    call = record.name, record.key, record.n
    child = child_id(run.id, *call)
    failed = record.output if record.status not in ("done", "abandoned") else None
    if failed is None and record.attempts > 1:
        tries = step_pages.tries_of(store, run.rid, [call]).get(call)
        failed = store.shown(tries[-1]).error if tries else None
    elif failed is not None:
        failed = store.shown(record).output
    return CallFacts(
        parameters=[] if known is None else list(known.parameters),
        idempotency_key=if_sound(lambda: key_of(store, run, record), str),
        excerpt=None if known is None else _excerpt(known, "" if failed is None else _traceback(failed)),
        child=child if listing.has(store, child) else None,
    )


def _traceback(packed: bytes) -> str:
    try:
        return capture.decode(packed).traceback
    except PerdureError:
        return ""


def _excerpt(row: CodeRow, traceback: str) -> Excerpt | None:
    """The lines around the one of the file that failed last, if the file is what it was then."""
    if not row.file or row.source is None:
        return None
    frames = [int(found["line"]) for found in _FRAME.finditer(traceback) if found["file"] == row.file]
    line = frames[-1] if frames else row.line
    about = row.file, row.qualname, line
    if not row.file.endswith(".py"):
        return Excerpt(*about, line, [], "it is no file of Python")
    try:
        text = _read(row.file)
    except (OSError, ValueError):
        return Excerpt(*about, line, [], "the file cannot be read here")
    if text is None or blake2b(text, digest_size=8).digest() != row.source:
        return Excerpt(*about, line, [], "the file is not as it was when the call was made")
    lines = text.decode("utf-8", "replace").splitlines()
    first = max(line - AROUND, 1)
    return Excerpt(*about, first, lines[first - 1 : line + AROUND])


def _read(path: str) -> bytes | None:
    """What a file says; None if it is none, or too large. A pipe or a device is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        return file.read() if stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST else None
