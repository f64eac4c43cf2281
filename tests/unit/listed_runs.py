"""A state file with runs, steps, failed attempts and dead letters that nothing has executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.exceptions import capture
from perdure.core.letter_record import LetterRecord
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.store import parking
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("cluster_snapshot.sql")

BEGAN = 1_790_000_000.0
ERROR = capture.encode(capture.to_fault(ValueError("no money")))
VALUE = codec.pack_value(7, owner="listed")


def given(value: object) -> bytes:
    """The inputs of a call."""
    return codec.pack_inputs([value], {}, owner="listed")


class Listed:
    """The state file; each method adds something to it."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)

    def run(self, id: str, status: Any = "done", workflow: str = "sell", **fields: Any) -> RunRecord:
        """A run."""
        output = {"done": VALUE, "failed": ERROR, "parked": ERROR}.get(status)

        def operation(connection: apsw.Connection) -> RunRecord:
            made = RunRecord(
                0, id, "shop.py", "/srv/shop.py", workflow, bytes(16), True, fields.get("parent"), status, None, 0,
                given(id), output, BEGAN, BEGAN, None if output is None else BEGAN + 1, 0,
            )  # fmt: skip
            return self.store.insert_run(connection, made)

        added: RunRecord = self.store.journal.write((), operation)
        return added

    def steps(
        self,
        run: RunRecord,
        *names: str,
        status: Any = "done",
        attempts: int = 1,
        ms: int = 5,
        reason: bytes | None = None,
        **marks: Any,
    ) -> None:
        """Records of a run; those that are dead have a letter, and each attempt before the last one has failed."""

        def operation(connection: apsw.Connection) -> None:
            (last,) = next(connection.execute("SELECT coalesce(max(seq), 0) FROM step WHERE run = ?", (run.rid,)))
            for seq, name in enumerate(names, last + 1):
                key, output = seq.to_bytes(16, "big"), VALUE if status == "done" else ERROR
                began = BEGAN + seq if attempts else 0.0  # without an attempt there is no time
                made = StepRecord(
                    seq, name, key, 0, status, given(seq), output, began, ms, attempts, 0, "step", **marks
                ).sealed(run.rid)
                self.store.insert_rows(connection, [(run.rid, *msgspec.structs.astuple(made))])
                if status == "dead":
                    letter = LetterRecord(
                        0,
                        run.rid,
                        seq,
                        "parked",
                        BEGAN + seq,
                        BEGAN + seq,
                        0,
                        None,
                        None,
                        None,
                        None,
                        0,
                        fingerprint=reason,
                    )
                    parking.add_copies(connection, [letter])
                self._tries(connection, run, name, key, seq, attempts if status != "done" else attempts - 1, attempts)

        self.store.journal.write((), operation)

    def tried(self, run: RunRecord, name: str, key: int, attempts: int) -> None:
        """Failed attempts of a call that has no record."""
        self.store.journal.write(
            (), lambda connection: self._tries(connection, run, name, key.to_bytes(16, "big"), key, attempts, attempts)
        )

    def _tries(self, connection: Any, run: RunRecord, name: str, key: bytes, value: int, failed: int, of: int) -> None:
        for number in range(1, failed + 1):
            began = BEGAN + value - (of - number) / 100
            one = AttemptRecord(0, name, key, 0, number, True, given(value), ERROR, began, 5, 0)
            connection.execute(_SQL["add_attempt"], (run.rid, *msgspec.structs.astuple(one.sealed(run.rid))))


class Questions:
    """Counts what a state file is asked: each is one look at it."""

    def __init__(self, store: Store, patch: Any) -> None:
        self.asked = 0
        read = store.journal.read

        def counted(question: Any) -> Any:
            self.asked += 1
            return read(question)

        patch.setattr(store.journal, "read", counted)


def plain(value: Any) -> Any:
    """A struct as data that can be compared."""
    return msgspec.to_builtins(value)
