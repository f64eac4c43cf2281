"""Results of many pages, so that commits span the journal and checkpoints happen in the middle of a run."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def page(n: int) -> tuple[int, str, bytes]:
    token = effect("page", n)
    return n, token, bytes([n]) * 400_000


@workflow
def book(pages: int) -> int:
    total = 0
    for n in range(pages):
        value, token, content = page(n)
        if content != bytes([n]) * 400_000:
            raise AssertionError(f"page {n} came back changed")
        total += seen("page", n, (value, token)) + len(content)
    return total


if __name__ == "__main__":
    end(book(14))
