"""The spool: nothing lost, nothing twice, in order, and no flood. The clock is the test's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from alert_world import Chat, Clock, by_digest, down, failed

from conftest import replace
from perdure.alerts import atomic_files
from perdure.alerts.alert import RECOVERED, Alert
from perdure.alerts.spool import KEPT, Spool
from perdure.errors import AlertError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    return Spool(tmp_path / "deep" / "alerts", now=clock)


def test_an_alert_is_on_the_disk_before_put_returns(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and folder are fsynced, for our eyes only, and hold nothing of the address."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}") if os.path.exists("/proc/self/fd") else "")
        real(descriptor)

    replace(monkeypatch, atomic_files.os, "fsync", fsync)
    chat = Chat()
    spool.put(failed("ValueError: x"), [chat])
    (file,) = (spool.folder / chat.digest).glob("*.json")
    if synced[0]:
        assert [path for path in synced if path.startswith(str(file))]
        assert str(file.parent) in synced
        assert synced.index(str(file.parent)) > [path.startswith(str(file)) for path in synced].index(True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    held = b"".join(path.read_bytes() for path in spool.folder.rglob("*") if path.is_file())
    assert b"top-secret" not in held
    assert b"example.org" not in held


def test_what_a_channel_took_is_never_sent_again(spool: Spool) -> None:
    """Delivered ones are gone, also for another process with the same folder."""
    chat = Chat()
    for word in ("one", "two", "three"):
        spool.put(failed(f"{word}: x"), [chat])
    assert spool.deliver(by_digest(chat)) == []
    assert spool.deliver(by_digest(chat), all=True) == []
    assert Spool(spool.folder).deliver(by_digest(chat), all=True) == []
    assert chat.said == ["one: x", "two: x", "three: x"]


def test_a_target_that_is_down_for_an_hour_gets_all_of_it_once_and_in_order(spool: Spool, clock: Clock) -> None:
    """And meanwhile it is not hammered, and the other target gets everything at once."""
    slow, well = Chat("slow"), Chat("well")
    slow.trouble = down
    sent = []
    for minute in range(0, 60, 3):
        clock.time += 180
        error = f"Error{minute}: x"
        spool.put(failed(error), [slow, well])
        sent.append(error)
        spool.deliver(by_digest(slow, well))
        for _ in range(2):
            spool.deliver(by_digest(slow, well))
        assert well.said == sent
    assert slow.asked <= 20 * 2
    assert len(spool.pending(by_digest(slow)).alerts) == 20
    slow.trouble = lambda _: None
    clock.time += 3600
    assert spool.deliver(by_digest(slow, well)) == []
    assert slow.said == well.said == sent
    assert spool.pending(by_digest(slow, well)).alerts == []


def test_a_clock_that_goes_back_does_not_change_the_order(spool: Spool, clock: Clock) -> None:
    """Alerts come in the order in which they were put."""
    chat = Chat()
    for n in range(5):
        clock.time -= 1000
        spool.put(failed(f"Error{n}: x"), [chat])
    spool.deliver(by_digest(chat))
    assert chat.said == [f"Error{n}: x" for n in range(5)]


def test_a_channel_that_names_a_delay_is_left_alone_for_it(spool: Spool, clock: Clock) -> None:
    """Unless something new waits; then the oldest still comes first."""
    chat = Chat()
    chat.trouble = lambda _: AlertError("slow down", retry_after=120)
    spool.put(failed("A: x"), [chat])
    spool.deliver(by_digest(chat))
    chat.trouble = lambda _: None
    clock.time += 119
    spool.deliver(by_digest(chat))
    assert chat.said == []
    clock.time += 2
    spool.deliver(by_digest(chat))
    assert chat.said == ["A: x"]


def test_an_alert_that_is_refused_holds_up_no_other(spool: Spool) -> None:
    """It waits on with its reason, and the others pass it by."""
    chat = Chat()
    chat.trouble = lambda alert: AlertError("cannot be parsed", refused=True) if "bad" in alert.error else None
    for word in ("bad", "good", "better"):
        spool.put(failed(f"{word}: x"), [chat])
    spool.deliver(by_digest(chat))
    assert chat.said == ["good: x", "better: x"]
    (left,) = spool.pending(by_digest(chat)).alerts
    assert (left.tries, left.error) == (1, "cannot be parsed")


def test_the_same_failure_is_told_once_and_then_counted(spool: Spool, clock: Clock) -> None:
    """The first at once; the others as a count when 15 minutes are over; and so on while it lasts."""
    chat = Chat()
    for _ in range(31):  # one a minute
        spool.put(failed("KeyError: 'x'"), [chat])
        spool.deliver(by_digest(chat))
        clock.time += 60
    assert [alert.repeated for alert in chat.got] == [0, 14, 15]
    assert "14 more of this since" in chat.got[1].text()
    clock.time += 900
    spool.deliver(by_digest(chat))
    assert sum(alert.repeated + (not alert.repeated) for alert in chat.got) == 31
    clock.time += 900
    spool.deliver(by_digest(chat))
    spool.put(failed("KeyError: 'x'"), [chat])
    spool.deliver(by_digest(chat))
    assert chat.got[-1].repeated == 0
    assert len(chat.got) == 5


def test_other_failures_are_told_meanwhile(spool: Spool) -> None:
    """Only the same key is counted."""
    chat = Chat()
    for error in ("KeyError: 1", "KeyError: 2", "ValueError: 3"):
        spool.put(failed(error), [chat])
    spool.put(failed("KeyError: 4", workflow="hourly"), [chat])
    spool.deliver(by_digest(chat))
    assert chat.said == ["KeyError: 1", "ValueError: 3", "KeyError: 4"]


def test_recovered_ends_the_counting(spool: Spool) -> None:
    """It says how often it had failed, and the next failure is sent at once."""
    chat = Chat()
    for _ in range(3):
        spool.put(failed("KeyError: 1"), [chat])
    spool.put(Alert(what=RECOVERED, level="info", workflow="nightly"), [chat])
    spool.put(failed("KeyError: 1"), [chat])
    spool.deliver(by_digest(chat))
    assert [(alert.what, alert.repeated) for alert in chat.got] == [("failed", 0), (RECOVERED, 2), ("failed", 0)]


def test_an_alert_that_is_put_again_after_a_death_is_told_once(spool: Spool, clock: Clock) -> None:
    """By its id: a process that died over putting it does so again at the next start."""
    chat = Chat()
    alert = failed("KeyError: 1")
    for _ in range(3):
        Spool(spool.folder, now=clock).put(alert, [chat])
    spool.deliver(by_digest(chat))
    spool.put(alert, [chat])
    spool.deliver(by_digest(chat))
    assert len(chat.got) == 1
    assert spool.pending({}).counted == 0


def test_a_full_spool_drops_the_oldest_and_says_so(tmp_path: Path, clock: Clock) -> None:
    """No more than the bound wait; how many were dropped is reported first, once."""
    chat = Chat()
    spool = Spool(tmp_path / "alerts", now=clock, most=5)
    for n in range(12):
        spool.put(failed(f"Error{n}: x"), [chat])
    assert spool.pending({}).dropped == 7
    spool.deliver(by_digest(chat))
    assert chat.said[0].startswith("7 older alerts were dropped")
    assert chat.said[1:] == [f"Error{n}: x" for n in range(7, 12)]
    assert spool.pending({}).dropped == 0


def test_a_target_that_is_not_configured_any_more(spool: Spool, clock: Clock) -> None:
    """Its alerts are kept and shown for a week, and sent if it comes back; then they are dropped, which is reported."""
    old = Chat("old")
    spool.put(failed("KeyError: 1"), [old])
    assert spool.deliver({}) == []
    (left,) = spool.pending({}).alerts
    assert (left.target, left.configured) == ("old", False)
    clock.time += KEPT - 1
    assert spool.deliver({}) == []
    spool.deliver(by_digest(old))
    assert old.said == ["KeyError: 1"]
    spool.put(failed("ValueError: 1"), [old])
    clock.time += KEPT + 1
    (failure,) = spool.deliver({})
    assert "dropped" in failure.what
    assert spool.pending({}).alerts == []


def test_a_disk_that_is_full_is_no_reason_to_be_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a spool the alert is sent all the same, and nothing is raised."""
    from perdure.alerts import sender

    chat = Chat()
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert sender.send(failed("KeyError: 1"), [chat], blocked / "alerts") == []
    assert chat.said == ["KeyError: 1"]
    assert "cannot be kept" in caplog.text


def test_a_channel_that_breaks_is_reported_without_its_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises: it is logged under `perdure`, the alert waits, and no part of the address is in it."""
    from perdure.alerts import sender
    from perdure.alerts.channels.target_address import parse

    (target,) = parse("https://bob:sesame-open@127.0.0.1:1/hooks/T0P53CR3T?sig=abcdef123")

    def broken(*_: object) -> None:
        raise KeyError("https://bob:sesame-open@127.0.0.1:1/hooks/T0P53CR3T?sig=abcdef123 T0P53CR3T abcdef123")

    target._deliver = broken  # type: ignore[method-assign]
    (failure,) = sender.send(failed("KeyError: 1"), [target], tmp_path / "alerts")
    assert "KeyError" in failure.what
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode()
    for secret in ("sesame", "T0P53CR3T", "abcdef123"):
        assert secret not in caplog.text + str(failure) + held + repr(target)
    assert "it waits" in caplog.text
