"""Results of many pages, so that commits span the journal and checkpoints happen in the middle of a run."""

import random

from witness import effect, end, seen

from perdure import step, workflow


def content_of(n: int) -> bytes:
    """Bytes that are like no others: what is like something else is stored once."""
    return random.Random(n).randbytes(400_000)


@step
def page(n: int) -> tuple[int, str, bytes]:
    token = effect("page", n)
    return n, token, content_of(n)


@workflow
def book(pages: int) -> int:
    total = 0
    for n in range(pages):
        value, token, content = page(n)
        if content != content_of(n):
            raise AssertionError(f"page {n} came back changed")
        total += seen("page", n, (value, token)) + len(content)
    return total


if __name__ == "__main__":
    end(book(14))
