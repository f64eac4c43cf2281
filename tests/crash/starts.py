"""Starts one run, by its id, from many threads at the same moment; each waits for its result. See proof R8.

With CRASH_UNLOCKED set, locks are granted to whoever asks: a control that must fail the oracle.
"""

import fcntl
import os
import threading

from witness import effect, say, seen

from perdure import step, workflow

THREADS = int(os.environ["CRASH_THREADS"])
if "CRASH_UNLOCKED" in os.environ:
    fcntl.flock = lambda descriptor, operation: None


@step
def add(n: int) -> tuple[int, str]:
    token = effect("add", n)
    return n, token


@workflow(name="contended.nightly")
def nightly(count: int) -> int:
    return sum(seen("add", n, add(n)) for n in range(count))


def main() -> None:
    """All threads at once; what each is given, and one line for them all."""
    results: list[int] = []
    together = threading.Barrier(THREADS)

    def start() -> None:
        together.wait()
        results.append(nightly.with_options(id="nightly-1").start(6).result())

    threads = [threading.Thread(target=start) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("end", value=results)


if __name__ == "__main__":
    main()
