"""Calls whose dead letter was edited: made with that input, by a redrive, and by the run that makes them again."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.core.execution.attempts import attempts
from perdure.core.execution.call_end import Decision, Failed
from perdure.core.execution.effects import Save
from perdure.core.execution.history import History
from perdure.core.execution.inputs import pack_leniently
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import INPUT, SEQ, Row, sealed_row
from perdure.core.values import codec
from perdure.errors import NotDecodable


def call_from(spec: Spec, given: bytes, key: bytes, n: int, *, edited: bool) -> Call:
    """The call of a record, from its packed inputs or from those that its letter was `edited` into.

    Its idempotency key is that of the record's call; with an edited input, one that depends on that too.

    Raises:
        NotDecodable: the inputs cannot be loaded as arguments of the step.
        TypeError: the step does not take them any more.
    """
    args, kwargs = spec.arguments(given)
    packed = pack_leniently(spec.signature, tuple(args), kwargs)  # as the step's arguments are compared afterwards
    call = Call(spec, tuple(args), kwargs, packed, key)
    call.n = n
    if edited:
        call.salt = edited_salt(given)
    return call


def edited_salt(given: bytes) -> bytes:
    """What sets the idempotency key of a call apart that is made with an edited input."""
    return b"edited" + codec.digest(given)


def attempts_as_edited(call: Call, history: History, given: bytes, parked: bool) -> Decision:
    """The attempts of a call with the input that its letter was edited into; its record has the one of the workflow.

    Args:
        call: as the workflow makes it.
        history: of the run.
        given: the edited input, packed.
        parked: it may be parked.
    """
    try:
        edited = call_from(call.spec, given, call.key, call.n, edited=True)
    except (NotDecodable, TypeError) as misfit:
        return Failed(
            NotDecodable(
                f"{call.spec.owner} does not take the input that its dead letter was edited into: {misfit}",
                "give its newest dead letter another one with `perdure dlq edit`, or let the step take it",
            )
        )
    edited.named, edited.drop, edited.ledgers, edited.extras = call.named, call.drop, call.ledgers, call.extras
    program = attempts(edited, history, parked)
    answer: Any = None
    try:
        while True:
            effect = program.send(answer)
            if isinstance(effect, Save):
                rows = tuple(_with_input(row, call.input) if row[SEQ] == edited.seq else row for row in effect.rows)
                effect = msgspec.structs.replace(effect, rows=rows)
            answer = yield effect
    except StopIteration as ended:
        call.seq, call.extras, call.spent, call.keyed = edited.seq, edited.extras, edited.spent, edited.keyed
        return ended.value  # type: ignore[no-any-return]


def _with_input(row: Row, given: bytes) -> Row:
    return sealed_row((*row[:INPUT], given, *row[INPUT + 1 :]))
