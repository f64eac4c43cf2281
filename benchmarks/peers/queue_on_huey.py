"""huey on SQLite: WAL and fsync=True, which is synchronous=FULL; worker threads; results are not kept."""

from __future__ import annotations

import sys

from huey import SqliteHuey
from queue_ledger import done, folder

huey = SqliteHuey("bench", filename=str(folder() / "huey.db"), fsync=True, results=False)


@huey.task()
def empty(number: int) -> None:
    done(number)


def main() -> None:
    what, *numbers = sys.argv[1:]
    if what == "fill":
        for number in range(int(numbers[0])):
            empty(number)
        return
    consumer = huey.create_consumer(workers=int(numbers[0]), periodic=False, initial_delay=0.001, max_delay=0.01)
    consumer.run()


if __name__ == "__main__":
    main()
