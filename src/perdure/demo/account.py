"""What a state file says of the demo's workflow: the other side of the API's ledger."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from perdure.core.records import StepRecord
from perdure.core.values import codec
from perdure.demo.proof import Account
from perdure.store.runs import Store

_STEP = "charge"


class _Summary(msgspec.Struct):
    """The fields of the workflow's result, without running its script to have the class."""

    charged: int
    totals: dict[str, Decimal]
    dead: list[str]


def settled(state: Path) -> list[str]:
    """The orders whose charge is saved, or parked as a dead letter, in the order in which that happened."""
    return [_order(record) for record in _charges(state)]


def read(state: Path, saved: list[str]) -> Account:
    """The account of a workflow that has ended.

    Args:
        state: the state file.
        saved: what `settled` gave when the run was killed.
    """
    runs = _runs(state)
    parked = [_order(record) for record in _charges(state) if record.status == "dead"]
    output = runs[0] if len(runs) == 1 else None
    result = msgspec.convert(codec.to_builtins(output), _Summary) if output else _Summary(0, {}, [])
    # The workflow describes its dead letters as text; what names none of those parked stays, to be found wrong.
    dead = [next((order for order in parked if repr(order) in text), text) for text in result.dead]
    return Account(len(runs), saved, parked, dead, result.charged, result.totals)


def _runs(state: Path) -> list[bytes | None]:
    """Every run's result; None for one that is not done."""
    if not state.exists():
        return []
    store = Store(state, read_only=True)
    try:
        return [run.output if run.status == "done" else None for run in store.runs()]
    finally:
        store.close()


def _charges(state: Path) -> list[StepRecord]:
    if not state.exists():
        return []
    store = Store(state, read_only=True)
    try:
        return [record for run in store.runs() for record in store.all_records(run.rid) if record.name == _STEP]
    finally:
        store.close()


def _order(record: StepRecord) -> str:
    order: str = codec.to_builtins(record.input)[0]["id"]
    return order
