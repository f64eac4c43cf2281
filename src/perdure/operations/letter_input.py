"""The input of a dead letter, place by place, as an editor shows it: without loading the script."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from hashlib import blake2b
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.execution.argument_paths import Arguments
from perdure.core.letter_record import LetterRecord
from perdure.core.records import RunRecord, StepRecord
from perdure.core.redaction.names import HIDDEN
from perdure.core.redaction.nested import redact_nested, within_of
from perdure.core.redaction.printable import printable
from perdure.errors import OptionError
from perdure.operations.dead_letters import editable_letter
from perdure.operations.location import Location, opened
from perdure.store import code
from perdure.store.dead_letters import InputHasChanged
from perdure.store.runs import Store

MOST = 200
"""Places that are given."""
LONGEST = 20_000
"""Characters of a text that is edited in a field."""

_PLAIN = re.compile(r"[^.\[\]\"]+")


class Place(msgspec.Struct, frozen=True):
    """A value in an input: where it stands, as `dlq edit --set` takes it; what it is now, and what was recorded, both
    without credentials.

    `whole`: it is shown as it is. One that is not (a credential is hidden, or a character escaped) cannot be edited
    from what is shown.
    """

    path: str
    value: str | int | float | bool | None
    recorded: str | int | float | bool | None
    whole: bool


class LetterInput(msgspec.Struct, frozen=True):
    """The input of a letter. `version` changes with it; `more` is how many places are not given; `script` is whose step
    it is; `edited`: it is not the recorded one any more."""

    letter: int
    step: str
    script: str
    places: list[Place]
    more: int
    version: str
    edited: bool


def letter_input(location: Location, reference: str) -> LetterInput:
    """The input of a letter, to be edited.

    Raises:
        NotFound: there is no such letter.
        UsageError: it stands for a whole run.
        StateError: the file cannot be read.
    """
    with opened(location) as store:
        letter, run, record = editable_letter(store, reference)
        names = parameters_of(store, run, record)
        current = record.input if letter.input is None else letter.input
        hide = secrets.redactor()
        recorded = {path: shown for path, _, shown in _places(Arguments(record.input, names).as_json(), hide)}
        now = _places(Arguments(current, names).as_json(), hide)
        places = [_place(path, value, shown, recorded.get(path), hide) for path, value, shown in now]
        more, version = len(places[MOST:]), version_of(store, letter)
        return LetterInput(letter.lid, record.name, run.path, places[:MOST], more, version, letter.input is not None)


def refuse_hidden(location: Location, reference: str, paths: Collection[str]) -> None:
    """Return if every one of these places is shown as it is, so that what is given for it was not made of stars.

    Raises:
        OptionError: one is not.
        NotFound: there is no such letter.
        UsageError: it stands for a whole run.
        StateError: the file cannot be read.
    """
    for place in letter_input(location, reference).places:
        if place.path in paths and not place.whole:
            raise OptionError(
                f"{printable(place.path)} is not shown in full: it holds a secret, hidden characters, or a long text",
                f"edit it in a terminal: perdure dlq edit {reference} --set PATH=JSON",
            )


def parameters_of(store: Store, run: RunRecord, record: StepRecord) -> list[str]:
    """The names of the parameters of what was called, as far as they were written down."""
    known = store.journal.read(lambda at: code.of_run(at, run.rid, store.path)).get((record.kind, record.name))
    return list(known.parameters) if known is not None else []


def version_of(store: Store, letter: LetterRecord) -> str:
    """Changes when the input of a letter is edited."""
    given = store.record(letter.run, letter.seq).input if letter.input is None else letter.input
    return blake2b(given, digest_size=8).hexdigest()


def check_version(store: Store, letter: LetterRecord, version: str) -> None:
    """Return if the input is that version.

    Raises:
        InputHasChanged: it is not.
    """
    if version_of(store, letter) != version:
        raise InputHasChanged(letter.lid)


def _place(path: str, value: Any, shown: Any, recorded: Any, hide: Callable[[str], str]) -> Place:
    text = f"{path}\n{value}"
    if len(text) > LONGEST:
        return Place(path, shown, recorded, whole=False)
    found = hide(text)
    if found != text and found != f"{hide(path)}\n{shown}":  # the two of them say that it is secret
        shown = HIDDEN
    return Place(path, shown, recorded, whole=shown == value and printable(found) == text)


def _places(
    node: Any, hide: Callable[[str], str], path: str = "", name: str = "", within: int = 0
) -> Iterator[tuple[str, Any, Any]]:
    """The values that are no lists and no objects, with their paths, and as they are shown under the names that they
    stand under; what no path can name is left out."""
    if isinstance(node, dict):
        inside = within_of(name, within)
        for key, inner in node.items():
            if _PLAIN.fullmatch(key):
                yield from _places(inner, hide, f"{path}.{key}" if path else key, key, inside)
            elif '"' not in key and path:
                yield from _places(inner, hide, f'{path}["{key}"]', key, inside)
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from _places(inner, hide, f"{path}[{number}]", "", within_of(name, within))
    elif node is None or isinstance(node, str | int | float | bool):
        yield path, node, redact_nested(node, hide, name, 1, within)
