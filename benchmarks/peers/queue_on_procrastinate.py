"""procrastinate on PostgreSQL as it comes (fsync and synchronous_commit are on); BENCH_POSTGRES says where it is."""

from __future__ import annotations

import asyncio
import os
import sys

from procrastinate import App, PsycopgConnector
from queue_ledger import done

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"], min_size=4, max_size=20))


@app.task()
async def empty(number: int) -> None:
    done(number)


async def work(what: str, numbers: list[int]) -> None:
    async with app.open_async():
        if what == "fill":
            async with app.connector.pool.connection() as connection:  # type: ignore[attr-defined]
                await connection.execute("DROP SCHEMA public CASCADE")
                await connection.execute("CREATE SCHEMA public")
            await app.schema_manager.apply_schema_async()
            await empty.batch_defer_async(*({"number": number} for number in range(numbers[0])))
        else:
            await app.run_worker_async(concurrency=numbers[0], fetch_job_polling_interval=0.05)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], [int(number) for number in sys.argv[2:]]))
