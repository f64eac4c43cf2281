"""A worker serves the links that its runs give out, and goes on with what is answered."""

from __future__ import annotations

import signal

import httpx
import pytest
from worker_world import World, world

from perdure.cli import main
from perdure.core.signal_links import Link, sign
from perdure.store import approvals
from perdure.store.link_keys import keys_of
from perdure.store.runs import Store
from waiting import until

__all__ = ["world"]

ASKS = """
    import perdure

    @perdure.workflow
    def job(run: str) -> list[object]:
        perdure.publish("link", perdure.signal_url("paid"))
        decision = perdure.approval("pay?")
        return [decision.approved, decision.by, perdure.wait_for("paid"), perdure.wait_for("more")]
"""


def asked(world: World) -> tuple[str, str] | None:
    """The run, and the nonce of what it asks, as soon as it waits for the answer."""
    store = Store(world.state, read_only=True)
    try:
        topics = approvals.open_topics(store, store.run("a"))
        return ("a", topics[0][0].rpartition("#")[2]) if topics else None
    finally:
        store.close()


def test_a_run_goes_on_when_its_links_are_answered(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked by one process, answered through another, gone on with by the worker; the command names it."""
    world.write(ASKS)
    options = ("--http", "127.0.0.1:0", "--public-url", "https://host.example/p")
    worker = world.worker(*options)
    line = worker.says("links are served at ")
    assert line.endswith(", reached at https://host.example/p")
    address = line.partition(" at ")[2].partition(",")[0]
    world.add("a")
    run, nonce = until(lambda: asked(world), "a question")
    world.becomes("suspended", "a")
    (key,) = keys_of(world.state)
    token = sign(Link("approval", run, "", "", nonce, 4_000_000_000), key)
    assert httpx.get(f"{address}/approve/{token}").status_code == 200
    assert httpx.post(f"{address}/approve/{token}", json={"approved": True, "by": "Ann"}).status_code == 200
    assert httpx.post(f"{address}/approve/{token}", json={"approved": False}).status_code == 410

    where = ("--state", str(world.state))
    assert main(["get", "a", "link", *where]) == 0
    shown = capsys.readouterr().out.strip()
    assert shown.startswith("https://host.example/p/signal/pdl_")
    assert "***" not in shown, "who asks for the value by its name is to use the link"
    until(lambda: not asked(world) and world.runs()["a"].status == "suspended", "the wait for the payment")
    assert main(["signal", "a", "paid", "5", *where]) == 0
    out, err = capsys.readouterr()
    assert out == f"paid was stored for a, which waits for it; worker pid {worker.process.pid} goes on with it\n"
    assert err == ""
    assert main(["signal", "a", "more", *where]) == 0
    world.becomes("done", "a")
    worker.send(signal.SIGTERM)
    assert worker.end() == 0
    assert not [line for line in worker.lines if "pdl_" in line]


def test_options_that_do_not_go_together(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that others can reach, without saying how; one that is none; a worker of a cluster."""
    script = str(world.script)
    for words, text in (
        (("--http", "0.0.0.0:0"), "--public-url"),
        (("--http", "nowhere"), "give a host and a port"),
        (("--public-url", "host"), "is not the address of a web server"),
        (("--once", "--engine", "temporal://127.0.0.1:1/x"), "for a worker of one machine"),
    ):
        assert main(["worker", *words, script]) == 2, words
        assert text in capsys.readouterr().err
