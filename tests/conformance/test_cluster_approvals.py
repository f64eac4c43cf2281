"""Approvals and links on a cluster: over HTTP, many answers at once, and what of them the cluster gets to keep."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.conformance.bench import Bench
from tests.conformance.cluster_steps import executions
from tests.conformance.test_cluster_waits import waits_for

import perdure
import perdure.http
from perdure import workflow
from perdure.alerts.channels.base import Target
from perdure.core.waits import APPROVAL
from perdure.engines.selection import cluster_at
from perdure.errors import AlreadyDecided, OptionError
from perdure.operations.approvals import answer
from perdure.operations.find_run import find_run
from perdure.operations.location import locate, opened
from perdure.store.approvals import id_of, topics_asked, unpack_answer
from waiting import until

KEY = "0123456789abcdef0123456789abcdef"
PUBLIC = "https://host.example"


def ask_all(app: Any, *requests: tuple[str, str, Any]) -> list[httpx.Response]:
    """The answers to requests, made one after the other."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.request(method, path, json=body) for method, path, body in requests]

    return asyncio.run(send())


def history_of(bench: Bench, id: str) -> bytes:
    """All that the cluster keeps of a run."""

    async def events() -> bytes:
        client = await cluster_at(bench.engine).cluster.client()
        found = client.get_workflow_handle(id).fetch_history_events()
        return b"".join([event.SerializeToString() async for event in found])

    return cluster_at(bench.engine).cluster.wait(events())


def test_links_are_answered_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of an approval and a signal's link work once, from any machine with the key; a second answer is told
    who was first. The address of the target, a secret, is nowhere on the cluster."""
    messages: list[Any] = []
    monkeypatch.setattr(Target, "send", lambda target, message: messages.append(message))
    monkeypatch.setenv("PERDURE_PUBLIC_URL", PUBLIC)

    @workflow
    def asks_by_link(secret: str) -> list[Any]:
        url = perdure.signal_url("paid", key="k")
        perdure.wait_for("go")
        said = perdure.approval("pay?", details="5 EUR", ask=f"https://{secret}.example/hook")
        return [url, said.approved, said.by, perdure.wait_for("paid", key="k", type=dict)]

    with pytest.raises(OptionError, match="PERDURE_SIGNAL_KEY has no key"):
        asks_by_link.with_options(id="without-key")("x")
    monkeypatch.setenv("PERDURE_SIGNAL_KEY", KEY)
    target = "s3cr3t"
    monkeypatch.setenv("TARGET", target)

    @workflow
    def asks_a_person() -> list[Any]:
        import os

        return asks_by_link._spec.fn(os.environ["TARGET"])  # type: ignore[no-any-return]

    handle = asks_a_person.with_options(id="by-link").start()
    handle.signal("go")
    until(lambda: waits_for(bench, handle.id, "perdure.approval"))
    (message,) = messages
    assert message.link.startswith(f"{PUBLIC}/approve/pdl_")
    assert message.commands == (("yes", "perdure approve by-link"), ("no", "perdure reject by-link"))
    approve = message.link.removeprefix(PUBLIC)
    forged = approve[:-1] + ("A" if approve[-1] != "A" else "Q")
    app = perdure.http.app()
    looked, bad, decided, again, late = ask_all(
        app,
        ("GET", approve, None),
        ("POST", forged, {"approved": True}),
        ("POST", approve, {"approved": True, "by": "Ann"}),
        ("POST", approve, {"approved": False, "by": "Mallory"}),
        ("GET", approve, None),
    )
    assert [one.status_code for one in (looked, bad, decided, again, late)] == [200, 401, 200, 410, 410]
    assert ("pay?" in looked.text, "Ann" in again.text, "Ann" in late.text) == (True, True, True)
    records = {step.name: step for run in cluster_at(bench.engine).list_runs(handle.id) for step in run.steps}
    signal = records["perdure.signal_url"].output.decode("latin-1").partition(PUBLIC)[2]
    sent = ask_all(app, *(("POST", signal, {"amount": amount}) for amount in (5, 5, 6)))
    assert [one.status_code for one in sent] == [200, 200, 410]
    assert handle.result(60)[1:] == [True, "Ann", {"amount": 5}]
    assert target.encode() not in history_of(bench, handle.id)


def test_of_many_answers_at_once_one_counts(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is told that it was taken has decided; all others are told the name of that one. Records are renewed."""
    caplog.set_level(logging.ERROR)

    @workflow
    def asks_many() -> list[str | None]:
        return [perdure.approval(f"number {n:02}?").by for n in range(8)]

    handle = asks_many.with_options(id="asks-many").start()

    def say(person: int, title: str) -> str:
        try:
            return answer(locate(), "asks-many", True, by=f"p{person}", title=title).by
        except AlreadyDecided as error:
            return error.what

    expected = []
    with ThreadPoolExecutor(4) as pool:
        for n in range(8):
            until(lambda n=n: f"number {n:02}" in str(cluster_at(bench.engine).list_runs(handle.id)[-1].waits))
            said = list(pool.map(lambda person, n=n: say(person, f"number {n:02}"), range(4)))
            (winner,) = [one for one in said if one.startswith("p")]
            assert all(f"approved by {winner}" in one for one in said if one != winner), said
            expected.append(winner)
    assert handle.result(60) == expected
    # One who was slower than the run, which ended with the last answer, is told as well.
    with opened(locate(), handle.id) as store:
        topic = next(one for one in topics_asked(store, find_run(store, handle.id)) if "number 07" in one)
    value, _, first = cluster_at(bench.engine).send_once(handle.id, APPROVAL, topic, b"", id_of(topic))
    assert (first, unpack_answer(value, 0).by) == (False, expected[-1])
    until(lambda: executions(bench, "asks_many") > 1)
