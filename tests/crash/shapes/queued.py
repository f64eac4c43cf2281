"""Runs that are put into a queue and executed by workers, of which each killed life leaves one behind."""

from witness import effect, end, seen, serve

import perdure
from perdure import step, workflow

COUNT = 6


@step
def mail(n: int, part: int) -> tuple[int, str]:
    token = effect("mail", f"{n}/{part}")
    return n + part, token


@workflow(name="queued.letter")
def letter(n: int) -> int:
    return sum(seen("mail", f"{n}/{part}", mail(n, part)) for part in range(3))


def runs() -> list[perdure.Handle[int]]:
    return [letter.with_options(id=f"letter-{n}", queue="mail").enqueue(n) for n in range(COUNT)]


if __name__ == "__main__":
    handles = runs()
    # A worker that a killed life has left may have them: then this one ends, and they are waited for by another.
    while any(handle.status() in ("queued", "running", "suspended") for handle in handles):
        serve(__file__)
    end([handle.result() for handle in handles])
