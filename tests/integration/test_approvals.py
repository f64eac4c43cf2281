"""An approval is asked once, decided once, and only by a person: neither a timeout nor an edit approves anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

import perdure
from conftest import Machine, replace
from perdure import Decision, step, workflow
from perdure.alerts.channels import apprise_channel
from perdure.cli import main
from perdure.engines.local import engine as local
from perdure.errors import AlertError, AlreadyDecided, NotFound, OptionError, RunHasEnded, Suspended, UsageError
from perdure.operations.approvals import answer
from perdure.operations.location import locate
from perdure.store import approvals
from sinks import Sink, serving

DAY = 86_400.0


@workflow
def refund(timeout: str | None) -> Decision:
    return perdure.approval("refund 7: 12.50?", details="the parcel\nwas lost", timeout=timeout)


@pytest.fixture
def say(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Answers the newest run, from another process as it were, with the clock of the machine; what was said."""
    replace(monkeypatch, time, "time", machine.world.now)
    answering = approvals.answering
    monkeypatch.setattr(
        approvals,
        "answering",
        lambda *args, **_: answering(*args, clock=machine.world.now),  # type: ignore[arg-type]
    )

    def answered(approved: bool, **options: str) -> str:
        return answer(locate(machine.state), "last", approved, **options).text()

    return answered


def asked(run: Callable[[], object]) -> None:
    with pytest.raises(Suspended):
        run()


def test_a_person_decides_and_the_run_goes_on_with_it(machine: Machine, say: Callable[..., str]) -> None:
    """With who, why and when; the same when it is run again. A second answer is told who was first."""
    asked(lambda: refund(None))
    machine.world.time += DAY
    run = machine.engine.store.runs()[0].id
    assert say(True, note="fine", by="Ann") == f"{run}: 'refund 7: 12.50?' was approved by Ann"
    when = datetime.fromtimestamp(machine.world.time, UTC)
    with pytest.raises(AlreadyDecided, match="answered before: approved by Ann"):
        say(False, by="Bob")
    assert refund(None) == Decision(True, "Ann", "fine", when)
    with pytest.raises(AlreadyDecided, match="answered before: approved by Ann"):
        say(False, by="Bob")
    store = machine.engine.store
    with pytest.raises(AlreadyDecided):
        store.journal.write((), approvals.answering(store, run, topic(machine, run), b""))


def topic(machine: Machine, run: str) -> str:
    rows = machine.engine.store.journal.read(lambda at: at.execute("SELECT topic FROM signal").fetchall())
    return str(rows[-1][0])


def test_nobody_answers_in_time(machine: Machine, say: Callable[..., str]) -> None:
    """Not approved, by nobody. An answer after that is refused, also while the run was not woken yet."""
    asked(lambda: refund("2d"))
    machine.world.time += 2 * DAY + 1
    with pytest.raises(AlreadyDecided, match="its time is over"):
        say(True)
    decision = refund("2d")
    assert (decision.approved, decision.by) == (False, None)
    assert decision.at.timestamp() == machine.world.time - 1


def test_an_answer_in_time_counts_however_late_the_run_is_woken(machine: Machine, say: Callable[..., str]) -> None:
    """A worker that was away for a week changes nothing; nor do texts of half characters."""
    asked(lambda: refund("2d"))
    machine.world.time += DAY
    say(False, by="Ann\ud800", note="\udfff" * 3000)
    machine.world.time += 7 * DAY
    decision = refund("2d")
    assert (decision.approved, decision.by, decision.note) == (False, "Ann?", "?" * 2000)


def test_several_are_asked_at_once(machine: Machine, say: Callable[..., str]) -> None:
    """In the branches of an async workflow, also under one title: each answer goes where it belongs."""
    local.close_all()  # an engine whose time passes by itself
    machine.world.time = machine.engine.world.now()

    @workflow
    async def several() -> list[tuple[bool, str | None]]:
        titles = ("first?", "second?", "same?", "same?")
        found = await asyncio.gather(*(perdure.aio.approval(title) for title in titles))
        return [(one.approved, one.by) for one in found]

    asked(lambda: asyncio.run(several()))
    with pytest.raises(UsageError, match="asks 4 things: '"):
        say(True)
    with pytest.raises(NotFound, match="asks nothing with 'third'"):
        say(True, title="third")
    say(True, title="second", by="Ann")
    say(False, title="first", by="Bob")
    store = machine.engine.store
    (one, other) = (topic for topic, answered in approvals.open_topics(store, store.runs()[0]) if not answered)
    for topic, by in ((other, "Cid"), (one, "Dan")):
        packed = approvals.pack_answer(True, by, "")
        store.journal.write((), approvals.answering(store, store.runs()[0].id, topic, packed))
    answers = asyncio.run(several())
    assert answers[:2] == [(False, "Bob"), (True, "Ann")]
    assert {by for _, by in answers[2:]} == {"Cid", "Dan"}


def test_an_edited_question_is_asked_anew(machine: Machine, say: Callable[..., str]) -> None:
    """Neither drift nor an answer to what was not asked; edited details and timeouts change nothing."""
    title, details = ["pay 10?"], ["because"]

    @workflow
    def pay() -> bool:
        return perdure.approval(title[0], details=details[0]).approved

    asked(pay)
    details[0] = "edited"
    asked(pay)
    say(True)
    title[0] = "pay 1000?"
    asked(pay)
    say(False)
    assert pay() is False


def test_it_is_sent_once(machine: Machine, say: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """To each target, with a link and the commands; not again in a later life, nor because another target is down."""
    monkeypatch.setenv("PERDURE_PUBLIC_URL", "https://host.example/perdure/")
    with serving(Sink()) as sink, serving(Sink()) as other:

        @workflow
        def sends() -> bool:
            targets = [f"http://{one.address}/in" for one in (sink, other)]
            return perdure.approval("pay?", ask=targets, timeout="9d").approved

        other.down = 503
        asked(sends)
        machine.boot()
        other.down = None
        asked(sends)
        (alert,) = sink.alerts
        assert len(other.requests) == 4
    run = machine.engine.store.runs()[0].id
    assert alert["title"] == f"INFO: {sends._spec.name} asks for an approval"
    assert alert["link"].startswith("https://host.example/perdure/approve/pdl_")
    lines = alert["text"].splitlines()
    assert lines[1] == "pay?"
    assert f"answer: {alert['link']}" in lines
    assert f"yes: perdure approve {run}" in lines


def test_a_question_that_reaches_nobody_is_an_error(machine: Machine) -> None:
    """After it was tried again; the next time that the run is gone on with, it is sent."""
    with serving(Sink()) as sink:

        @workflow
        async def sends_late() -> bool:
            return (await perdure.aio.approval("pay?", ask=f"http://{sink.address}/in")).approved

        sink.down = 503
        with pytest.raises(AlertError, match="an approval cannot be asked at http://127"):
            asyncio.run(sends_late())
        assert len(sink.requests) == 4
        sink.down = None
        machine.boot()
        asked(lambda: asyncio.run(sends_late()))
        assert len(sink.requests) == 5


def test_a_question_that_can_reach_nobody_is_not_sent_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sends to chats is not installed, or the target refuses what it is sent: the next try is no better."""
    looked: list[str] = []
    monkeypatch.setattr(apprise_channel, "find_spec", looked.append)

    @workflow
    def asks_a_chat() -> bool:
        return perdure.approval("pay?", ask="slack://a/b/c").approved

    with pytest.raises(AlertError, match="the package apprise is not installed"):
        asks_a_chat()
    assert looked == ["apprise"]

    with serving(Sink()) as sink:

        @workflow
        def is_refused() -> bool:
            return perdure.approval("pay?", ask=f"http://{sink.address}/in").approved

        sink.down = 413
        with pytest.raises(AlertError, match="an approval cannot be asked"):
            is_refused()
        assert len(sink.requests) == 1


def test_the_commands(machine: Machine, say: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    """They say what was decided, and what makes the run go on; an ended run is exit code 1."""
    asked(lambda: refund(None))
    run = machine.engine.store.runs()[0].id
    local.close_all()
    capsys.readouterr()
    assert main(["approve", run, "--note", "fine", "--by", "Ann"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{run}: 'refund 7: 12.50?' was approved by Ann\n"
    assert "perdure resume" in err
    assert main(["reject", run]) == 1
    assert "[already-decided]" in capsys.readouterr().err
    assert main(["reject", "nobody"]) == 2


def test_what_cannot_be_asked(machine: Machine) -> None:
    """Refused before anything is written: bad texts, targets and times; outside of workflows and in steps."""

    @step
    def inside() -> None:
        perdure.approval("pay?")

    @workflow
    def asks(kind: str) -> None:
        if kind == "step":
            inside()
        options = {"title": {"title": "a\nb"}, "long": {"title": "x" * 201}, "ask": {"ask": "nowhere"}}
        perdure.approval(**{"title": "pay?", **options.get(kind, {"timeout": "soon"})})  # type: ignore[arg-type]

    with pytest.raises(UsageError):
        perdure.approval("pay?")
    for kind in ("title", "long", "ask", "timeout"):
        with pytest.raises(OptionError):
            asks(kind)
    with pytest.raises(UsageError):
        asks("step")
    assert machine.engine.store.journal.read(lambda at: at.execute("SELECT count(*) FROM wait").fetchone()) == (0,)


def test_a_link_for_a_signal_needs_an_address(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one it is an error; with one it is a step, and the same link in each life."""
    links: list[str] = []

    @workflow
    def gives_out() -> None:
        links.append(perdure.signal_url("paid", key="7"))
        perdure.wait_for("paid", key="7")

    with pytest.raises(UsageError, match="PERDURE_PUBLIC_URL") as refused:
        gives_out()
    assert "public_url" in str(refused.value)
    monkeypatch.setenv("PERDURE_PUBLIC_URL", "https://host.example")
    asked(gives_out)
    machine.boot()
    perdure.signal(machine.engine.store.runs()[0].id, "paid", key="7")
    gives_out()
    assert links[0] == links[1]
    assert links[0].startswith("https://host.example/signal/pdl_")
    with pytest.raises(RunHasEnded):
        perdure.signal(machine.engine.store.runs()[0].id, "paid", key="7")
