"""The same inputs once, ever: a run that is done gives its recorded result to each later call."""

from witness import effect, end, seen

from perdure import step, workflow


@step
def mail(day: str, n: int) -> tuple[int, str]:
    token = effect("mail", f"{day}/{n}")
    return n, token


@workflow(once=True)
def report(day: str) -> int:
    return sum(seen("mail", f"{day}/{n}", mail(day, n)) for n in range(4))


if __name__ == "__main__":
    end([report("mon"), report("tue"), report("mon")])
