"""Results too large for a row: artifacts of the script's own, and a result that the store moves to a file by itself."""

import random

from witness import effect, end, seen

from perdure import Artifact, artifact, step, workflow


def content_of(n: int) -> bytes:
    """Bytes that are like no others: what is like something else is stored once."""
    return random.Random(n).randbytes(40_000)


@step
def download(n: int) -> tuple[int, str, Artifact]:
    token = effect("download", n)
    return n, token, artifact(content_of(n), name=f"part {n}")


@step(artifact_above=10_000)
def render(n: int, data: Artifact) -> tuple[int, str, bytes]:
    token = effect("render", n)
    return n, token, data.load() + content_of(n + 100)


@workflow
def publish(parts: int) -> int:
    total = 0
    for n in range(parts):
        value, token, kept = download(n)
        total += seen("download", n, (value, token))
        value, token, content = render(n, kept)
        if kept.load() != content_of(n) or content != content_of(n) + content_of(n + 100):
            raise AssertionError(f"part {n} came back changed")
        total += seen("render", n, (value, token))
    return total


if __name__ == "__main__":
    end(publish(6))
