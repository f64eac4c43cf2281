"""DBOS on SQLite as it comes (a rollback journal, flushed in full), or, with BENCH_POSTGRES, on PostgreSQL."""

from __future__ import annotations

import os
import sys
import threading

from dbos import DBOS, DBOSClient
from queue_ledger import done, folder

URL = os.environ.get("BENCH_POSTGRES") or f"sqlite:///{folder() / 'dbos.sqlite'}"


@DBOS.workflow()
def empty(number: int) -> None:
    done(number)


def main() -> None:
    what, *numbers = sys.argv[1:]
    config = {"name": "bench", "system_database_url": URL, "application_version": "1", "log_level": "ERROR"}
    DBOS(config={**config, "run_admin_server": False})
    if what == "fill":
        DBOS.reset_system_database()
        DBOS.launch()
        client = DBOSClient(system_database_url=URL)
        for number in range(int(numbers[0])):  # the queue is registered by the worker
            client.enqueue({"workflow_name": "empty", "queue_name": "bench", "app_version": "1"}, number)
        os._exit(0)
    DBOS.launch()
    DBOS.register_queue("bench", polling_interval_sec=0.01)
    threading.Event().wait()


if __name__ == "__main__":
    main()
