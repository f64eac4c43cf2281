"""A workflow through which a canary goes on every way that there is: what a cluster stores of it must not show it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.client import Client
from tests.conformance.bench import note

from perdure import Retry, step, workflow
from perdure.engines.selection import cluster_at

CANARY = "canary-7b1f4e"
broken = [True]


class Refused(Exception):
    """Carries it as an attribute, too."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@step(retry=Retry(attempts=2, delay="1ms", factor=1, jitter=0))
def charge(card: str) -> str:
    note("charge")
    return f"charged {card}"


@step(retry=Retry(attempts=2, delay="1ms", jitter=0))
async def refuse(card: str) -> None:
    note("refuse")
    raise Refused(f"{card} is refused")


@step(retry=None)
def fragile(card: str) -> str:
    note("fragile")
    if broken[0]:
        raise Refused(f"{card} is not known")
    return card


@workflow
async def child(card: str) -> str:
    try:
        await refuse(card)
    except Refused as refused:
        return refused.text
    return ""


def billing_of(name: str) -> Any:
    """The workflow, under a name of its own: who cannot read the runs of a workflow cannot start it."""

    @workflow(name=f"billing-{name}")
    async def billing(card: str) -> list[str]:
        return [charge(card), await child(card), fragile(card)]

    return billing


def keys(folder: Path, *entries: str) -> str:
    """The path of a file of keys, of which each letter is one."""
    path = folder / f"{'-'.join(entries)}.keys"
    made = {entry: f"{entry}:{base64.b64encode(entry.encode() * 32).decode()}" for entry in entries}
    lines = [entry if entry == "plain" else made[entry] for entry in entries]
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return str(path)


def stored(url: str) -> bytes:
    """All that the cluster says of the runs of this script, to a client that knows nothing."""

    async def read() -> bytes:
        address = cluster_at(url).address
        client = await Client.connect(address.target, namespace=address.namespace)
        found: list[bytes] = []
        async for each in client.list_workflows("TaskQueue = 'perdure-tests.conformance.secret_steps'"):
            handle = client.get_workflow_handle(each.id, run_id=each.run_id)
            messages: list[Message] = [each.raw_info, (await handle.describe()).raw_description]
            messages += [event async for event in handle.fetch_history_events()]
            found += [message.SerializeToString() for message in messages]
        return b"\n".join(found)

    return cluster_at(url).cluster.wait(read())


def readable(data: bytes, *texts: Any) -> list[str]:
    """Which of these texts can be read there."""
    return [text for text in map(str, texts) if text.encode() in data]
