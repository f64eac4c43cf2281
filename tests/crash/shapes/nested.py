"""Workflows that call workflows, and steps of their own before and after."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def leaf(path: str, n: int) -> tuple[int, str]:
    token = effect("leaf", f"{path}/{n}")
    return n + 1, token


@workflow
def twig(path: str) -> int:
    return sum(seen("leaf", f"{path}/{n}", leaf(path, n)) for n in range(3))


@workflow
def bough(path: str) -> int:
    total = seen("leaf", f"{path}/7", leaf(path, 7))
    return total + twig(f"{path}/a") + twig(f"{path}/b")


@workflow
def tree(name: str) -> int:
    before = seen("leaf", f"{name}/100", leaf(name, 100))
    grown = bough(f"{name}/left") + bough(f"{name}/right")
    return before + grown + seen("leaf", f"{name}/200", leaf(name, 200))


if __name__ == "__main__":
    end(tree("oak"))
