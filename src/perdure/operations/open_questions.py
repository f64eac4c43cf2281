"""What a run asks that nobody has answered yet."""

from __future__ import annotations

from perdure.config import secrets
from perdure.core.records import RunRecord
from perdure.core.waits import title_of
from perdure.store import approvals
from perdure.store.runs import Store


def unanswered(store: Store, run: RunRecord) -> list[str]:
    """The titles of the approvals that a run waits for and nobody has answered; what was asked first in front.

    Args:
        store: the state file.
        run: which.

    Raises:
        StateError: the file cannot be read.
    """
    return [secrets.conceal(title_of(topic)) for topic, answered in approvals.open_topics(store, run) if not answered]
