"""The effects that the core asks for, performed on the disk of a simulation."""

from __future__ import annotations

from collections import Counter
from typing import Any

from simulated_disk import ATTEMPTS, Disk, Identity, World

from perdure.core.execution.effects import Execute, Load, Outcome, Save, SaveAttempt, Wait
from perdure.core.execution.history import History
from perdure.core.execution.run_effects import Begin, End, Finished, Forget, Recall, Start, Taken, Unended
from perdure.core.execution.spec import Call
from perdure.core.records import INPUT, KIND, RUN, SEQ, Row, RunRecord, StepRecord


class Performer:
    """Performs effects at once, and holds that no completed call is executed again, nor any more often than its policy
    allows.
    """

    def __init__(self, disk: Disk, world: World) -> None:
        self.disk = disk
        self.world = world
        self.time = 1000.0
        self.series: Counter[Identity] = Counter()

    def perform(self, effect: Any, history: History | None) -> Any:
        disk = self.disk
        match effect:
            case Load(seq=seq):
                assert history is not None
                return StepRecord(*disk.rows[history.rid][seq][SEQ:])
            case Execute(call=call):
                assert history is not None
                return self.execute(call, history)
            case Wait(seconds=seconds):
                self.time += seconds
            case Save(attempt=attempt, rows=rows):
                self.save(rows)
                if attempt is not None:
                    disk.attempts.append((rows[0][RUN], attempt))
            case SaveAttempt(rid=rid, record=record):
                disk.attempts.append((rid, record))
            case Begin(start=start):
                return self.begin(start)
            case Recall(run=run):
                return self.recall(run)
            case Forget(run=run, seqs=seqs, aftermath=aftermath):
                self.take_back(run.rid, seqs, aftermath)
            case Unended():
                return ()
            case End():
                self.end(effect)
            case _:
                raise AssertionError(effect)
        return None

    def execute(self, call: Call, history: History) -> Outcome:
        identity = (history.id, call.spec.name, call.key, call.n)
        assert identity not in self.disk.records(), f"executed again: {identity}"
        self.check_series(identity, history)
        try:
            return Outcome(self.world.execute(identity, call.args[0]), None, self.time, 0.5)
        except ConnectionError as error:
            return Outcome(None, error, self.time, 0.5)

    def check_series(self, identity: Identity, history: History) -> None:
        """Failed attempts on the disk count, unless an earlier process has used them all up."""
        if identity not in self.series:
            made = [
                record
                for rid, record in self.disk.attempts
                if rid == history.rid
                and (record.name, record.key, record.n) == identity[1:]
                and record.epoch == history.epoch
            ]
            self.series[identity] = len(made) % ATTEMPTS
        self.series[identity] += 1
        assert self.series[identity] <= ATTEMPTS, f"more attempts than the policy allows: {identity}"

    def save(self, rows: tuple[Row, ...]) -> None:
        for row in rows:
            stored = self.disk.rows.setdefault(row[RUN], {})
            assert row[SEQ] not in stored, "two records under one number"
            stored[row[SEQ]] = row

    def begin(self, start: Start) -> Any:
        runs = self.disk.runs
        id = start.id or start.fresh
        if id in runs and runs[id].status == "done":
            return Finished(runs[id])
        resumed = id in runs
        rid = runs[id].rid if resumed else len(runs) + 1
        epoch = runs[id].epoch if resumed else 0
        runs[id] = RunRecord(
            rid, id, "", "", start.workflow, start.key, False, start.parent, "running", None, epoch, start.input, None,
            0.0, 0.0, None, 0,
        )  # fmt: skip
        return Taken(runs[id], resumed)

    def recall(self, run: RunRecord) -> History:
        for identity in [identity for identity in self.series if identity[0] == run.id]:
            del self.series[identity]  # the workflow's function begins anew, and counts what is on the disk
        rows = sorted(self.disk.rows.get(run.rid, {}).values(), key=lambda row: row[SEQ])
        attempts = [
            (record.name, record.key, record.n, record.number, int(record.counted), record.started)
            for rid, record in self.disk.attempts
            if rid == run.rid and record.epoch == run.epoch
        ]
        exempt = self.disk.exempt.get(run.rid, [])
        index = [(*row[SEQ:INPUT], row[KIND]) for row in rows]
        return History(run.rid, run.id, index, attempts, exempt=exempt, epoch=run.epoch)

    def take_back(self, rid: int, seqs: tuple[int, ...], aftermath: tuple[int, int] | None) -> None:
        for seq in seqs:
            del self.disk.rows[rid][seq]
        if aftermath is not None:
            self.disk.exempt.setdefault(rid, []).append(aftermath)

    def end(self, effect: End) -> None:
        run = self.disk.runs[effect.run.id]
        self.save(effect.rows)
        self.take_back(run.rid, effect.forget, effect.aftermath)
        fields = {name: getattr(run, name) for name in run.__struct_fields__}
        fields |= {"status": effect.status, "output": effect.output, "epoch": run.epoch + (effect.status == "failed")}
        self.disk.runs[run.id] = RunRecord(**fields)
