"""What lies in the files of a folder, so that two lives can be compared: bytes, lines of texts, rows of databases."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from perdure.crashtest.scratch import files_in
from perdure.store import sqlite_dump

LARGEST_JSON = 1_000_000
"""Bytes of a file of JSON whose parts are compared."""


class Content(msgspec.Struct, frozen=True):
    """What is in a file.

    Attributes:
        digest: of the whole; of a SQLite file, of its dump.
        extent: how many lines a text has, how many rows each table; empty for others.
        value: what is in a file of JSON; None for others.
    """

    digest: str
    extent: str = ""
    value: Any = None


def contents(folder: Path) -> dict[str, Content]:
    """Each file by its path below the folder, with what is in it."""
    found = {}
    for path in files_in(folder):
        name = str(path.relative_to(folder))
        if name.endswith(("-wal", "-shm", "-journal")) and (path.parent / path.name.rpartition("-")[0]).exists():
            continue
        found[name] = _content(path)
    return found


def _content(path: Path) -> Content:
    if path.is_symlink():
        return Content(f"link to {os.readlink(path)}")
    try:
        with path.open("rb") as file:
            head = file.read(len(sqlite_dump.MAGIC))
            if head != sqlite_dump.MAGIC:
                file.seek(0)
                found = _of_bytes(iter(lambda: file.read(1 << 20), b""))
                return msgspec.structs.replace(found, value=_json(path)) if path.suffix == ".json" else found
        return _of_database(sqlite_dump.statements(path))
    except OSError as error:
        return Content(f"unreadable: {type(error).__name__}")


def _json(path: Path) -> Any:
    if path.stat().st_size > LARGEST_JSON:
        return None
    try:
        return msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError:
        return None


def _of_bytes(chunks: Iterator[bytes]) -> Content:
    digest, lines, text = hashlib.blake2b(digest_size=16), 0, codecs.getincrementaldecoder("utf-8")()
    is_text = True
    for chunk in chunks:
        digest.update(chunk)
        lines += chunk.count(b"\n")
        try:
            is_text = is_text and b"\0" not in chunk and text.decode(chunk) is not None
        except UnicodeDecodeError:
            is_text = False
    return Content(digest.hexdigest(), f"{lines} lines" if is_text else "")


def _of_database(statements: list[str]) -> Content:
    whole = "\n".join(statements).encode("utf-8", "surrogateescape")
    tables = Counter(each.partition(" VALUES(")[0] for each in statements if each.startswith("INSERT INTO "))
    extent = ", ".join(f"{rows} rows {table}" for table, rows in sorted(tables.items()))
    return Content(hashlib.blake2b(whole, digest_size=16).hexdigest(), extent)
