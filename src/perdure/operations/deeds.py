"""Deeds: what people have had done to runs, dead letters and breakers is written down, and listed."""

from __future__ import annotations

import getpass
import logging
import os
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

import msgspec

from perdure.config import secrets
from perdure.core.timestamps import moment
from perdure.engines.features import Feature
from perdure.errors import StateError
from perdure.operations.location import Location, opened
from perdure.store import deeds
from perdure.store.damaged_rows import LOOK
from perdure.store.runs import Store

Via = Literal["command", "page", "mcp"]

MOST = 200
"""Deeds that are listed at a time."""
FEW = 20
VIA = "_VIA_OF_PERDURE"
"""The variable by which a command is told that another program was asked to give it: "page" or "mcp"."""


class DeedView(msgspec.Struct, frozen=True):
    """Something that a person has had done.

    Attributes:
        number: counts the deeds of the state file.
        at: when.
        who: the user of the system, or whom the page knows.
        via: "command", "page" or "mcp".
        what: the name of the command that does the same, such as "dlq drop"; "damaged": it cannot be read.
        target: what it was done to: the id of a run, the numbers of letters, the name of a service.
        detail: what else was asked for, and what came of it.
    """

    number: int
    at: datetime | None
    who: str
    via: str
    what: str
    target: str
    detail: str


def note(
    location: Location, what: str, target: str, detail: str = "", *, via: Via | None = None, who: str = ""
) -> None:
    """Write a deed down that was done. A deed is not undone because that fails: the log says so then.

    Args:
        location: the state file; of a cluster nothing is written down.
        what: the name of the command that does the same.
        target: what it was done to.
        detail: what else was asked for, and what came of it.
        via: by which way; None: by a command, unless the environment says that another program gave it.
        who: whom the page knows; empty: the user of this process.
    """
    if not location.supports(Feature.STATE_FILE) or not target:
        return
    hide = secrets.redactor()
    try:
        store = Store(location.path)
        try:
            store.journal.write(
                (), deeds.add(time.time(), who or _user(), via or _way(), what, hide(target), hide(detail))
            )
        finally:
            store.close()
    except StateError as error:
        logging.getLogger("perdure").warning("%s was done to %s, and cannot be written down: %s", what, target, error)


def list_deeds(location: Location, *, before: int | None = None, limit: int = MOST) -> list[DeedView]:
    """What was done, the newest first.

    Args:
        location: the state file.
        before: only deeds with lower numbers than this.
        limit: how many at most.

    Raises:
        StateError: the file cannot be read.
    """
    with opened(location) as store:
        rows: list[tuple[int, deeds.DeedRow | None]] = store.journal.read(lambda at: deeds.before(at, before, limit))
    return [_view(number, one) for number, one in rows]


def _view(number: int, one: deeds.DeedRow | None) -> DeedView:
    if one is None:
        return DeedView(number, None, "", "", "damaged", "", LOOK)
    return DeedView(number, moment(one.at), one.who, one.via, one.what, one.target, one.detail)


def numbers_of(numbers: Sequence[int]) -> str:
    """Numbers of letters as the target of a deed: all of a few; of many how many, and the lowest and the highest."""
    if len(numbers) <= FEW:
        return " ".join(map(str, numbers))
    return f"{len(numbers)} letters, {min(numbers)} to {max(numbers)}"


def _way() -> str:
    said = os.environ.get(VIA, "")
    return said if said in get_args(Via) else "command"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # it has no name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else ""
