"""A failure is assessed once, on the living exception, and stored: all that speaks of it later says the same."""

from __future__ import annotations

import email.message
import urllib.error

import pytest

import perdure
from conftest import Machine
from perdure import Retry, step, workflow
from perdure.alerts.run_alerts import end_alert
from perdure.core.policies.classify import Assessment
from perdure.core.policies.verdicts import Stop, pack_verdict, unpack_stop, unpack_verdict
from perdure.errors import DiskFull, Drift
from perdure.operations.location import Location
from perdure.operations.why import Why, explain
from perdure.store import stop_notes
from perdure.store.lives import list_of
from perdure.store.runs import Store

ONCE_AGAIN = Retry(attempts=3, delay=0, jitter=0)


def refused(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://api.test/", status, "no", email.message.Message(), None)


def why(machine: Machine) -> Why:
    store = machine.engine.store
    return explain(store, store.runs()[0], Location(store.path, "a test"))


@pytest.mark.parametrize(
    ("status", "code"), [(401, "credential-expired"), (402, "over-budget"), (413, "oversized-payload")]
)
def test_the_run_and_why_and_the_alert_agree_about_an_error_of_urllib(machine: Machine, status: int, code: str) -> None:
    """The copy of such an exception cannot be assessed: what was known of the living one is stored."""

    @step(retry=ONCE_AGAIN)
    def fetch() -> str:
        raise refused(status)

    @workflow
    def job() -> str:
        return fetch()

    with pytest.raises(urllib.error.HTTPError):
        job()
    store = machine.engine.store
    (run,) = store.runs()
    (attempt,) = store.attempt_records(run.rid)  # it was not tried again
    verdict = unpack_verdict(attempt.verdict)
    assert verdict is not None
    assert (verdict.kind, verdict.code, verdict.status, verdict.confidence) == ("permanent", code, status, "certain")
    stop = store.stopped_by(run)
    assert stop is not None
    assert unpack_verdict(stop.verdict) == verdict
    found = why(machine)
    assert found.code == code
    assert any("the error is permanent" in reason for reason in found.reasons)
    assert run.output is not None
    alert = end_alert(store, run, run.status, run.output, "")
    assert alert is not None
    assert alert.code == code


def test_what_the_policy_says_is_part_of_the_verdict(machine: Machine) -> None:
    """`Retry(never=...)` makes it permanent, and the rule says so."""

    @step(retry=Retry(attempts=3, never=ConnectionError))
    def fetch() -> str:
        raise ConnectionError("refused")

    @workflow
    def job() -> str:
        return fetch()

    with pytest.raises(ConnectionError):
        job()
    store = machine.engine.store
    verdict = unpack_verdict(store.attempt_records(store.runs()[0].rid)[0].verdict)
    assert verdict is not None
    assert (verdict.kind, verdict.rule) == ("permanent", "Retry(never=...)")


def drifting(days: list[str]) -> object:
    @step(name="price", retry=None)
    def price(day: str) -> str:
        return day

    @step(name="last", retry=None)
    def last() -> None:
        if len(days) == 2:
            raise OSError("not yet")

    @workflow(name="drifting")
    def job() -> None:
        price(days.pop(0))
        last()

    return job


def test_after_drift_why_says_drift_and_offers_no_plain_resume(machine: Machine) -> None:
    """What stopped the run is stored; going on alone would drift again."""
    job = drifting(["monday", "tuesday", "monday"])
    with pytest.raises(OSError, match="not yet"):
        job()  # type: ignore[operator]
    with pytest.raises(Drift):
        job()  # type: ignore[operator]
    found = why(machine)
    assert found.code == "code-drift"
    assert any("Drift: step 'price' had completed with other inputs" in reason for reason in found.reasons)
    resumes = [way.command for way in found.ways if "perdure resume" in way.command]
    assert [command.endswith("--accept-changes") for command in resumes] == [True]
    assert any(" --from price" in way.command for way in found.ways)
    job()  # type: ignore[operator]
    assert machine.engine.store.stopped_by(machine.engine.store.runs()[0]) is None


@pytest.mark.parametrize("room", [True, False])
def test_a_reason_that_the_state_file_cannot_hold_is_kept_beside_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    """A full disk stops the run, and that cannot be written there; the note is gone when the run goes on.

    Where there is no room beside the file either, it is written when the write-ahead log has given up its own.
    """
    full = [True]
    put = stop_notes.put
    monkeypatch.setattr(stop_notes, "put", lambda *note: (room or not full[0]) and put(*note))
    write = Store.attempt

    @step(retry=ONCE_AGAIN)
    def fetch() -> str:
        raise ConnectionError("refused")

    @workflow
    def job() -> str:
        return fetch()

    def attempt(store: Store, *values: object) -> object:
        def fail(connection: object) -> None:
            raise DiskFull("no space left")

        return fail if full[0] else write(store, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "attempt", attempt)
    journal_write = type(machine.engine.store.journal).write

    def no_release(journal: object, rows: object, operation: object = None) -> object:
        if full[0] and "release" in getattr(operation, "__qualname__", ""):
            raise DiskFull("no space left")
        return journal_write(journal, rows, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(type(machine.engine.store.journal), "write", no_release)
    with pytest.raises(DiskFull):
        job()
    if not room:
        full[0] = False
        machine.boot()
    store = machine.engine.store
    (run,) = store.runs()
    stop = store.stopped_by(run)
    assert stop is not None
    assert run.stopped is None
    if not room:  # else it is this process that has the run
        assert any("it was interrupted" in reason and "by DiskFull" in reason for reason in why(machine).reasons)
    seen = unpack_verdict(stop.verdict)
    assert seen is not None
    assert seen.code == "disk-full"
    full[0] = False
    machine.boot()
    with pytest.raises(ConnectionError):
        job()
    assert not stop_notes.folder_of(store.path).exists()


def test_a_call_of_two_lives_is_marked_for_good(machine: Machine) -> None:
    """Also whether it asked for its idempotency key; a call of one life has no mark."""
    dying = [KeyboardInterrupt(), None, KeyboardInterrupt(), None]

    @step(retry=None)
    def keyed() -> str:
        perdure.idempotency_key()
        if error := dying.pop(0):
            raise error
        return "paid"

    @step(retry=None)
    def bare() -> str:
        if error := dying.pop(0):
            raise error
        return "sent"

    @step(retry=None)
    def once() -> str:
        return perdure.idempotency_key()

    @workflow
    def job() -> str:
        return once() + keyed() + bare()

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            job()
        machine.boot()
    job()
    store = machine.engine.store
    (run,) = store.runs()
    marks = [(one.name.rpartition(".")[2], one.lives, one.keyed) for one in store.all_records(run.rid)]
    assert marks == [("once", None, None), ("keyed", 2, 1), ("bare", 2, 0)]
    assert [one.cause for one in list_of(store, run.rid)] == ["interrupted", "interrupted"]


def test_a_second_attempt_says_whether_it_asked_for_its_key(machine: Machine) -> None:
    """The answer to the first may have been lost."""
    failing = [TimeoutError("no answer"), None]

    @step(retry=ONCE_AGAIN)
    def send() -> str:
        if error := failing.pop(0):
            raise error
        return "sent"

    @workflow
    def job() -> str:
        return send()

    job()
    store = machine.engine.store
    (record,) = store.all_records(store.runs()[0].rid)
    assert (record.lives, record.keyed, record.attempts) == (None, 0, 2)


def test_what_is_stored_can_be_anything() -> None:
    """A verdict or a reason of another version, or a damaged one, is none."""
    seen = Assessment(kind="throttled", code="rate-limit-spiral", retry_after=3.0, rule="x", confidence="likely")
    assert unpack_verdict(pack_verdict(seen)) == seen
    assert [unpack_verdict(data) for data in (None, b"", b"\xc1", b"\x93\x01\x02\x03")] == [None] * 4
    assert [unpack_stop(data) for data in (None, b"", b"\xc1", b"\x91\x01")] == [None] * 4
    assert Stop(1.0, b"", b"").at == 1.0
