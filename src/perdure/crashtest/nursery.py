"""The fork server: a process that has imported what the script needs, and forks for each life."""

from __future__ import annotations

import gc
import importlib
import os
import sys

import msgspec

from perdure.crashtest.life import Order, live


def main() -> None:
    """Fork for each order that is read, a line of JSON; answer with the number of the process, then with its status."""
    for name in msgspec.json.decode(sys.argv[1], type=list[str]):
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001, S112  the script says so when it imports it
            continue
    gc.freeze()
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        pid = os.fork()
        if not pid:
            _become(order)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: Order) -> None:
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        log = os.open(f"{order.notes}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        live(order)
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
