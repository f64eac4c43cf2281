"""Steps that fail for good; the workflow catches that and goes on, the same way on every resume."""

from witness import effect, end, seen, settled

from perdure import step, workflow


class Declined(Exception):
    pass


@step(retry=None)
def charge(n: int) -> tuple[int, str]:
    token = effect("charge", n)
    if n % 3 == 1:
        raise ValueError(f"order {n} has no amount")
    if n % 3 == 2:
        raise Declined(f"order {n}")
    return n, token


@step
def put_aside(n: int, why: str) -> tuple[int, str]:
    # Whoever acts on a failure has moved past it: from here on it is history.
    settled("charge", n)
    token = effect("put_aside", n)
    return -len(why), token


@workflow
def orders(count: int) -> int:
    total = 0
    for n in range(count):
        try:
            total += seen("charge", n, charge(n))
        except Declined as declined:
            total += seen("put_aside", n, put_aside(n, f"declined: {declined}"))
        except ValueError as error:
            total += seen("put_aside", n, put_aside(n, str(error)))
    return total


if __name__ == "__main__":
    end(orders(9))
