"""Three steps on DBOS, as a whole program. Without `DBOS.destroy()`, which takes a second more."""

import os

from dbos import DBOS

if "BENCH_FULL" in os.environ:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def full(connection, _record) -> None:  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")


@DBOS.step()
def work(i: int) -> int:
    return i


@DBOS.workflow()
def three() -> int:
    return work(1) + work(2) + work(3)


if __name__ == "__main__":
    url = f"sqlite:///{os.environ['BENCH_STATE']}/dbos.sqlite"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()
    print(three())
