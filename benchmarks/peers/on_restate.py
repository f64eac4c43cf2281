"""Restate: its server from npm as it comes, and handlers in Python that it calls over HTTP, all on this machine.

A step is `ctx.run`. Every step goes from the handler to the server and back, and there to disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import restate
from harness import ASYNC_IN_FLIGHT, FLEET, Clock, report, small, state_folder
from hypercorn.asyncio import serve
from hypercorn.config import Config

SERVER = Path(sys.prefix) / "node_modules" / ".bin" / "restate-server"
clock = Clock()
bench = restate.Service("bench")


@bench.handler()
async def sequential(ctx: restate.Context, steps: int) -> int:
    for i in range(steps):
        await ctx.run_typed("work", small, i=i)
        clock.stamps.append(time.perf_counter())
    return steps


@bench.handler()
async def member(ctx: restate.Context, share: list[int]) -> int:
    for i in range(*share):
        await ctx.run_typed("work", small, i=i)
    return len(share)


@bench.handler()
async def items(ctx: restate.Context, count: int) -> int:
    for first in range(0, count, ASYNC_IN_FLIGHT):
        window = range(first, min(count, first + ASYNC_IN_FLIGHT))
        await restate.gather(*(ctx.run_typed("work", small, i=i) for i in window))
    return count


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def ask(url: str, body: object = None) -> Any:
    """What an HTTP server answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.read()


async def until_there(url: str) -> None:
    """Wait until a server answers."""
    for _ in range(600):
        try:
            await asyncio.to_thread(ask, url)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            return
    raise SystemExit(f"nobody answers at {url}")


async def main(task: str, steps: int) -> None:
    """Does one task of the runner's."""
    ingress, admin, node, handlers = (free_port() for _ in range(4))
    names = {"INGRESS__BIND_ADDRESS": ingress, "ADMIN__BIND_ADDRESS": admin, "BIND_ADDRESS": node}
    settings = {f"RESTATE_{name}": f"127.0.0.1:{port}" for name, port in names.items()}
    words = [str(SERVER), "--base-dir", str(state_folder() / "restate")]
    with (state_folder() / "server.log").open("wb") as log:
        server = subprocess.Popen(words, env=os.environ | settings, stdout=log, stderr=log)
    try:
        config = Config()
        config.bind = [f"127.0.0.1:{handlers}"]
        config.errorlog = None
        serving = asyncio.create_task(serve(restate.app([bench]), config))  # type: ignore[arg-type]
        await until_there(f"http://127.0.0.1:{admin}/health")
        deployed = {"uri": f"http://127.0.0.1:{handlers}"}
        await asyncio.to_thread(ask, f"http://127.0.0.1:{admin}/deployments", deployed)
        seconds = await timed(task, steps, f"http://127.0.0.1:{ingress}/bench")
        serving.cancel()
    finally:
        server.kill()
        server.wait()
    report(**clock.facts(seconds))


async def timed(task: str, steps: int, bench_url: str) -> float:
    """How many seconds the task takes, from the first request to the last answer."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(FLEET))
    await asyncio.to_thread(ask, f"{bench_url}/items", 0)  # the way there is known
    share = steps // FLEET
    began = time.perf_counter()
    if task == "fleet-async":
        asked = [asyncio.to_thread(ask, f"{bench_url}/member", [k * share, (k + 1) * share]) for k in range(FLEET)]
        await asyncio.gather(*asked)
    else:
        await asyncio.to_thread(ask, f"{bench_url}/{'items' if task == 'map-async' else 'sequential'}", steps)
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
