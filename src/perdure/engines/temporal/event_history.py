"""What an execution has done, read from Temporal's history of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.exceptions import ApplicationError, FailureError, TerminatedError

from perdure.core.exceptions.attempt_notes import AttemptNote
from perdure.core.records import CLEAN_UPS, TIMERS_NOTE
from perdure.core.values import codec
from perdure.engines.temporal.commands import RECALL
from perdure.engines.temporal.encryption import KeyRing
from perdure.engines.temporal.in_place import IN_PLACE
from perdure.engines.temporal.mailbox import OVERHEAD, Mailbox
from perdure.engines.temporal.messages import Awaiting, ChildAnswer, ChildAsk, message_of
from perdure.engines.temporal.open_waits import NOTE
from perdure.engines.temporal.payloads import (
    FIRED,
    Carried,
    Carry,
    Identity,
    Letter,
    OpenWaitNote,
    Owner,
    Portion,
    RaceNote,
    Ran,
    RunCommand,
    RunFailed,
    StepCommand,
    WaitNote,
    decode,
)
from perdure.engines.temporal.run_notices import NOTICE

NO_INPUTS = codec.pack_inputs([], {}, owner="")
NOTHING = b"\xc0"
NOTES = (NOTE, IN_PLACE)
"""Local activities whose results are notes."""


class OpenCall(msgspec.Struct):
    """A call that has not ended, or failed without the workflow having moved past it.

    `activity` is what Temporal knows one by that has not ended.
    """

    name: str
    key: bytes
    n: int
    input: bytes
    started: float
    tried: list[AttemptNote] = []
    fault: bytes = b""
    seconds: float = 0.0
    activity: str = ""


class EventHistory:
    """What one execution of a run has done.

    Args:
        events: its history, from the first event.
        carry: what is known about its end, if it handed over by itself.
        ring: the keys that it is encrypted with.

    Raises:
        DecryptionError: one of them is missing.

    `records` are in the order of completion. `open` are the calls under way, and those that failed last. `children` are
    the executions of child runs that are not done, by id. `output` is the packed result, `failed` how it failed,
    `ended_by` what Temporal says if it has not ended itself; `last` is the time of the last event. `epoch` is how often
    the run had been cleaned up when it began. `mailbox` has what was sent to the run, `waits` are the durable waits
    that it is in, `asks` those of its child runs for signals; `recalled`: with those of earlier executions.
    """

    def __init__(self, events: Iterable[HistoryEvent], carry: Carry | None = None, ring: KeyRing | None = None) -> None:
        self._ring = ring or KeyRing()
        self.command: RunCommand | None = None
        self.children: dict[str, str] = {}
        self.every_child: list[str] = []
        self.output: bytes | None = None
        self.failed: RunFailed | None = None
        self.ended_by: FailureError | None = None
        self.exempt: list[Identity] = []
        self.epoch = 0
        self.mailbox = Mailbox()
        self.waits: dict[Identity, OpenWaitNote] = {}
        self.asks: dict[Owner, ChildAsk] = {}
        self._noted: list[tuple[int, WaitNote | ChildAsk | ChildAnswer]] = []
        self.recalled = True
        self.begun = False
        self._cancelled = False
        self._races: list[RaceNote] = []
        self._given_up_before: dict[Identity, bytes] = {}
        self._carried: Identity | None = None
        self._undoes: dict[Identity, Identity] = {}
        self._carry = carry
        self._ended: list[tuple[int, Carried]] = []
        self._calls: dict[int, StepCommand] = {}
        self._runs: dict[int, RunCommand] = {}
        self._portions: set[int] = set()
        self._underway: dict[int, OpenCall] = {}
        self._last_call = 0
        self.last = 0.0
        for event in events:
            self._read(event)
            self.last = event.event_time.ToMicroseconds() / 1e6
        for at, note in self._noted:
            if isinstance(note, WaitNote):
                self._wait_noted(at, note)
            else:
                self._child_noted(note)
        self.records, self.open = self._judge()

    @property
    def resumed(self) -> bool:
        """Does the execution go on with a run that had ended before, rather than with one in a record that was full?"""
        carry = None if self.command is None else self.command.carry
        return carry is not None and (carry.before is None or carry.before > 0)

    # -- the events ---------------------------------------------------------------------------------------------------

    def _read(self, event: HistoryEvent) -> None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            started = event.workflow_execution_started_event_attributes
            self.command = decode(self._data(started.input.payloads), RunCommand)
            self.recalled = self.command.carry is None
            self.begun = bool(started.continued_execution_run_id)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            self.begun = True
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            self._scheduled(event)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            self._step_ended(event.event_id, completed.scheduled_event_id, self._data(completed.result.payloads))
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            failed = event.activity_task_failed_event_attributes
            details = failed.failure.application_failure_info.details.payloads
            if details:
                self._step_ended(event.event_id, failed.scheduled_event_id, self._data(details))
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            self._underway.pop(event.activity_task_canceled_event_attributes.scheduled_event_id, None)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            self.output = self._data(event.workflow_execution_completed_event_attributes.result.payloads)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            failure = event.workflow_execution_failed_event_attributes.failure
            info = failure.application_failure_info
            if info.details.payloads:
                self.failed = decode(self._data(info.details.payloads), RunFailed)
            else:
                self.ended_by = ApplicationError(
                    event.workflow_execution_failed_event_attributes.failure.message, type=info.type
                )
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            self.ended_by = TerminatedError(event.workflow_execution_terminated_event_attributes.reason)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
            self._cancelled = True
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            signaled = event.workflow_execution_signaled_event_attributes
            payloads = [self._ring.open(one) for one in signaled.input.payloads]
            message = message_of(signaled.signal_name, payloads)
            if message is None:
                self.mailbox.receive(signaled.signal_name, payloads, event.event_time.ToMicroseconds() / 1e6)
            elif isinstance(message, ChildAsk):
                self._noted.append((event.event_id, message))
            elif isinstance(message, Awaiting):
                self.mailbox.awaiting[message.workflow_id] = None
        elif kind == EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
            sent = event.signal_external_workflow_execution_initiated_event_attributes
            answer = message_of(sent.signal_name, [self._ring.open(one) for one in sent.input.payloads])
            if isinstance(answer, ChildAnswer):
                self._noted.append((event.event_id, answer))
        elif kind == EventType.EVENT_TYPE_MARKER_RECORDED:
            self._marked(event)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            again = event.workflow_execution_continued_as_new_event_attributes
            self._carry = decode(self._data(again.input.payloads), RunCommand).carry
        else:
            self._read_child(event)

    def _data(self, payloads: Sequence[Payload]) -> bytes:
        return self._ring.open(payloads[0]).data

    def _scheduled(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == NOTICE:
            return
        if scheduled.activity_type.name == RECALL:
            self._portions.add(event.event_id)
            return
        call = decode(self._data(scheduled.input.payloads), StepCommand)
        self._calls[event.event_id] = call
        if call.kind not in CLEAN_UPS:  # those say nothing about what the workflow has moved past
            self._last_call = event.event_id
        self._races += call.races
        if call.undoes is not None:
            self._undoes[call.name, call.key, call.n] = call.undoes
        at = event.event_time.ToMicroseconds() / 1e6
        who = (call.name, call.key, call.n, call.input)
        self._underway[event.event_id] = OpenCall(*who, at, activity=scheduled.activity_id)

    def _marked(self, event: HistoryEvent) -> None:
        details = event.marker_recorded_event_attributes.details
        about, result = details.get("data"), details.get("result")
        if about is None or result is None or json.loads(about.payloads[0].data).get("activity_type") not in NOTES:
            return
        note = decode(self._data(result.payloads), WaitNote)
        self._last_call = event.event_id
        self._noted.append((event.event_id, note))

    def _wait_noted(self, at: int, note: WaitNote) -> None:
        """What has become of a wait, when all letters are known."""
        if note.opened is not None:
            self.waits[note.opened.name, note.opened.key, note.opened.n] = note.opened
        if note.taken is not None:
            self.mailbox.take(note.taken)
        if note.aside is not None:
            self.mailbox.set_aside(note.aside, note.reason)
        if note.closed is not None:
            self.waits.pop((note.closed.name, note.closed.key, note.closed.n), None)
            self._ended.append((at, note.closed))

    def _child_noted(self, told: ChildAsk | ChildAnswer) -> None:
        """What a child run has asked, or was answered."""
        self.asks.pop(told.owner, None)
        if isinstance(told, ChildAnswer):
            if told.letter is not None:
                self.mailbox.hand_over(told.owner, told.letter[0])
        elif self.mailbox.child_asked(told):
            self.asks[told.owner] = told

    def _step_ended(self, at: int, scheduled: int, data: bytes) -> None:
        if scheduled in self._portions:
            portion = decode(data, Portion)
            self._take_over(portion.records)
            self.mailbox.take_over(portion.letters, portion.handed, portion.awaiting)
            self.waits |= {(one.name, one.key, one.n): one for one in portion.waits}
            self.children.update(portion.children)
            self.exempt += portion.exempt
            self.epoch = portion.epoch
            self.recalled = portion.more is None
            return
        if scheduled not in self._calls:
            return  # that the run has begun was told
        call, ran = self._calls[scheduled], decode(data, Ran)
        if ran.late:
            return  # it was under way when the run ended
        self._underway.pop(scheduled, None)
        status = "done" if ran.ok else "dead" if call.parked else "failed"
        rest = (ran.packed, ran.started, ran.seconds, ran.attempts, ran.tried, call.undo, call.kind)
        self._ended.append((at, Carried(call.name, call.key, call.n, status, call.input, *rest)))  # type: ignore[arg-type]

    def _take_over(self, records: Iterable[Carried]) -> None:
        """The records that this execution began with, and what stands behind them."""
        for record in records:
            identity = (record.name, record.key, record.n)
            if record.kind == "timers":
                fired = FIRED.decode(record.input)
                self._races += [RaceNote(self._carried, timer=number, beside=half > 0) for number, half in fired]
            elif record.status == "abandoned":
                self._given_up_before[identity] = record.input
                self._races.append(RaceNote(self._carried, given_up=identity, kind=record.kind))
            else:
                self._ended.append((0, record))
                self._carried = identity

    def _read_child(self, event: HistoryEvent) -> None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            initiated = event.start_child_workflow_execution_initiated_event_attributes
            self._runs[event.event_id] = decode(self._data(initiated.input.payloads), RunCommand)
            self._last_call = event.event_id
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            execution = event.child_workflow_execution_started_event_attributes.workflow_execution
            self.children[execution.workflow_id] = execution.run_id
            self.every_child.append(execution.workflow_id)
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
            completed = event.child_workflow_execution_completed_event_attributes
            self.children.pop(completed.workflow_execution.workflow_id, None)
            self._child_ended(event, completed.initiated_event_id, True, self._data(completed.result.payloads))
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
            failed = event.child_workflow_execution_failed_event_attributes
            self.children[failed.workflow_execution.workflow_id] = failed.workflow_execution.run_id
            details = failed.failure.application_failure_info.details.payloads
            if details:
                fault = decode(self._data(details), RunFailed).fault
                self._child_ended(event, failed.initiated_event_id, False, fault)

    def _child_ended(self, event: HistoryEvent, initiated: int, ok: bool, packed: bytes) -> None:
        command = self._runs[initiated]
        seconds = event.event_time.ToMicroseconds() / 1e6 - command.created
        rest = (packed, command.created, seconds, 1)
        self._ended.append(
            (
                event.event_id,
                Carried(command.name, command.key, command.n, "done" if ok else "failed", command.input, *rest),
            )
        )

    # -- what they come to --------------------------------------------------------------------------------------------

    def _judge(self) -> tuple[list[Carried], list[OpenCall]]:
        """What is history, and what is not: a failure that ended the run is to be tried again."""
        kept = self.failed.kept if self.failed is not None else self._carry.kept if self._carry is not None else None
        known = None if kept is None or not self._is_over() else {(name, bytes(key), n) for name, key, n in kept}
        self.exempt += self.failed.exempt if self.failed else self._carry.exempt if self._carry else []
        self._races += self.failed.races if self.failed else self._carry.races if self._carry else []
        given_up = {note.given_up for note in self._races} - self._given_up_before.keys()
        # What was given up because of the failure that ends the run is not over: it goes on from its beginning.
        still = set() if self.failed is None else {(name, bytes(key), n) for name, key, n in self.failed.exempt}
        for identity in given_up - still:
            self.waits.pop(identity, None)  # type: ignore[arg-type]
        noted = {at for at, note in self._noted if isinstance(note, WaitNote)}
        self._ended.sort(key=lambda ended: ended[0])
        records: dict[Identity, Carried] = {}
        failures: list[OpenCall] = []
        for at, one in self._ended:
            identity = (one.name, one.key, one.n)
            # Without a word from the run itself: what came after a failure shows that the workflow had moved past it.
            # What was carried over (`at` is 0) was history before.
            moved_past = identity in known if known is not None else at < self._last_call or at == 0
            if at and identity in given_up:
                continue  # it ended all the same, and the workflow has not seen it
            history = one.status != "failed" or moved_past
            if history:
                records.pop(identity, None)
                records[identity] = one
                if one.status == "done" and identity in self._undoes:
                    records.pop(self._undoes[identity], None)
            elif at and at not in noted:  # a wait that ended in time is not tried, it begins anew
                failures.append(
                    OpenCall(one.name, one.key, one.n, one.input, one.started, one.tried, one.output, one.seconds)
                )
        return self._with_races(records), [*failures, *self._underway.values()]

    def _with_races(self, records: dict[Identity, Carried]) -> list[Carried]:
        """The records, and behind each what the workflow saw before the next: timers, and calls that it gave up."""
        behind: dict[Identity | None, list[Carried]] = {}
        place: Identity | None = None
        given = {(call.name, call.key, call.n): call.input for call in self._calls.values()} | self._given_up_before
        for note in self._races:
            # What it came after may have been undone, or taken back: then it stands behind what came before.
            place = note.after if note.after is None or note.after in records else place
            if note.given_up is not None:
                what = (*note.given_up, "abandoned", given.get(note.given_up, NO_INPUTS), NOTHING)
                one = Carried(*what, 0.0, 0.0, 0, kind=note.kind)  # type: ignore[arg-type]
            else:
                fired = msgspec.msgpack.encode([(note.timer, 0.5 * note.beside)])
                one = Carried(TIMERS_NOTE, bytes(16), 0, "done", fired, NOTHING, 0.0, 0.0, 0, kind="timers")
            behind.setdefault(place, []).append(one)
        found = behind.pop(None, [])
        for identity, record in records.items():
            found.append(record)
            found += behind.get(identity, ())
        return found

    def _is_over(self) -> bool:
        return self.failed is not None or self._carry is not None

    def _goes_on(self) -> bool:
        """Does the run go on after it had ended, rather than in a new record?"""
        return self._carry is None or self._carry.before is None

    def portion(self, first: int, most: int) -> Portion:
        """The records and letters from number `first` on, up to `most` bytes of them."""
        kept = [record for record in self.records if not (self._goes_on() and _is_given_up(record))]
        taken: list[Carried] = []
        letters: list[Letter] = []
        size = 0
        unwound = self._cancelled or (self.failed is not None and self.failed.unwound)
        epoch = self.epoch + unwound
        for number, record in enumerate(kept[first:], start=first):
            size += len(record.input) + len(record.output) + 100 + 200 * len(record.tried)
            if taken and size > most:
                return Portion(taken, number, epoch=epoch)
            taken.append(record)
        count = len(kept)
        for number, letter in enumerate(self.mailbox.letters[max(first - count, 0) :], start=max(first, count)):
            size += len(letter.value) + OVERHEAD
            if (taken or letters) and size > most:
                return Portion(taken, number, epoch=epoch, letters=letters)
            letters.append(letter)
        over = self.failed is not None or self._cancelled
        waits = (
            [] if self._cancelled else list(self.waits.values())
        )  # of one that has failed, those go on that are open
        handed, awaiting = list(self.mailbox.handed.items()), [] if over else list(self.mailbox.awaiting)
        return Portion(taken, None, self.children, self.exempt, epoch, letters, waits, handed, awaiting)


def _is_given_up(record: Carried) -> bool:
    """Is it an undoing that has failed for good? A run that goes on has it tried again at its next end."""
    return record.kind == "undone" and record.status == "dead"
