"""Signals that a run is sent while it works: taken in order, and none twice if the sender dies."""

from witness import effect, end, seen

import perdure
from perdure import step, workflow

RUN = "inbox-1"


@step
def post(n: int) -> tuple[int, str]:
    token = effect("post", n)
    perdure.signal(RUN, "letter", n, id=f"letter {n}")
    return n, token


@step
def file(n: int) -> tuple[int, str]:
    token = effect("file", n)
    return n, token


@workflow
def inbox(count: int) -> list[int]:
    filed = []
    for n in range(count):
        seen("post", n, post(n))
        if n % 2:
            filed += [
                seen("file", taken, file(taken)) for taken in (perdure.wait_for("letter"), perdure.wait_for("letter"))
            ]
    return filed


if __name__ == "__main__":
    end(inbox.with_options(id=RUN)(6))
