"""FILL IN: what this workflow is for, in a line.

Run it. After a failure, a crash or a kill, run it again: it goes on where it stopped.

    python my_workflow.py
    perdure run my_workflow.py     (the same, with progress on the terminal)
    perdure check my_workflow.py   (what would break on resume, be lost, or hang)
    perdure show last     (what the last run did, step by step)

It runs as it stands. The places marked FILL IN are yours. Each step answers three
questions: what did I finish (checkpoint), what do I do if this fails (recovery), and
who finds out (alert).
"""

from dataclasses import dataclass

import perdure
from perdure import Retry, step, workflow


@dataclass(frozen=True)
class Item:
    """FILL IN: one thing to be worked on."""

    id: str
    amount: int


# Checkpoint: what a step returns is saved before the workflow sees it, and a resumed
# run gets it from there. So whatever may change (a file, a query, the clock, chance)
# is read in a step, and never in the workflow's own code.
@step
def fetch_items(day: str) -> list[Item]:
    """FILL IN: where the items come from."""
    return [Item(f"{day}-{number}", number) for number in range(1, 6)]


# Recovery: a transient error is tried again, with growing waits; a server's
# Retry-After is obeyed. An attempt that takes longer than `timeout` has failed. While
# the service is down, its breaker keeps everybody away from it; `rate` holds at any
# time. FILL IN: the bounds, and the service's name. Raise on every failure: what
# returns an error as a value is neither tried again nor reported.
@step(
    retry=Retry(attempts=4, delay="1s", total="10m"),
    timeout="20s",
    breaker="my-service",
    rate="10/s",
)
def process_item(item: Item) -> int:
    """FILL IN: the work on one item."""
    # An attempt that was under way when the process died is made again. Give the
    # service a key, so that it does the work once:
    # headers={"Idempotency-Key": perdure.idempotency_key()}
    return item.amount * 2


@step
def tidy_up(day: str) -> None:
    """FILL IN: what is to be cleaned up in any case; it may run twice."""


# Alert: a run that ends abnormally (an exception, a kill, out of memory, out of time)
# raises an alert to the targets that the environment names: ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID, or
# PERDURE_ALERTS with other addresses. FILL IN there; no alert is sent until then.
# A second process that starts this meanwhile is skipped (`lock`).
@workflow(timeout="2h", lock=True)
def my_workflow(day: str = "today") -> str:
    """FILL IN: what a run does.

    The arguments say which run is meant: the same ones go on with an unfinished run.
    Pass what names the work (a date, a customer), and never the present time.
    """
    perdure.defer(tidy_up, day)  # when the run is done or cancelled, also after a crash
    items = fetch_items(day)
    # Each item has a checkpoint of its own. One that fails for good is parked as a
    # dead letter, to be looked at and done later; the others go on.
    batch = process_item.map(items, key=lambda item: item.id, concurrency=4)
    return f"{len(batch.results)} items done, {len(batch.dead)} dead letters"


if __name__ == "__main__":
    print(my_workflow())
