"""Restate: one workflow of steps one after the other (`sequential`), or 100 of 20 steps side by side (`fleet-async`).

The steps are those of a handler. Their results are kept by the server, a process that this one starts and ends.
Standard output is the JSON of what was measured. It runs with an interpreter that has restate-sdk, hypercorn and httpx.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

FLEET = 100
SERVICE, INGRESS, ADMIN = "127.0.0.1:19080", "127.0.0.1:18080", "127.0.0.1:19070"

jobs = restate.Service("jobs")
stamps: list[float] = []
calls = itertools.count()


def small(i: int) -> int:
    next(calls)
    return i % 100


@jobs.handler()
async def sequential(ctx: restate.Context, steps: int) -> int:
    for i in range(steps):
        await ctx.run_typed("work", lambda i=i: small(i))
        stamps.append(time.perf_counter())
    return steps


async def measure(server: str, task: str, steps: int) -> dict[str, float]:
    """Start the server, register the handler, execute it, and stop the server."""
    config = Config()
    config.bind, config.loglevel = [SERVICE], "ERROR"
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(restate.app([jobs]), config, shutdown_trigger=stop.wait))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        settings = Path(folder) / "restate.toml"
        settings.write_text(f'[admin]\nbind-address = "{ADMIN}"\n[ingress]\nbind-address = "{INGRESS}"\n')
        arguments = ["--base-dir", folder, "--node-name", "bench", "--config-file", str(settings)]
        with subprocess.Popen([server, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                async with httpx.AsyncClient(timeout=600) as client:
                    while not await healthy(client):
                        if process.poll() is not None:
                            sys.exit(f"the server has ended with {process.returncode}")
                        await asyncio.sleep(0.1)
                    told = {"uri": f"http://{SERVICE}"}
                    (await client.post(f"http://{ADMIN}/deployments", json=told)).raise_for_status()
                    await ask(client, 1)
                    stamps.clear()
                    before, began = next(calls), time.perf_counter()
                    if task == "sequential":
                        await ask(client, steps)
                    else:
                        await asyncio.gather(*(ask(client, steps // FLEET) for _ in range(FLEET)))
                    seconds = time.perf_counter() - began
            finally:
                process.terminate()
    stop.set()
    await serving
    return {"seconds": seconds, "calls": next(calls) - before - 1}


async def healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get(f"http://{ADMIN}/health")).is_success
    except httpx.TransportError:
        return False


async def ask(client: httpx.AsyncClient, steps: int) -> None:
    (await client.post(f"http://{INGRESS}/jobs/sequential", json=steps)).raise_for_status()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
