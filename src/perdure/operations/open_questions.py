"""What a run waits for, and what of that it asks people: which nobody has answered yet, and which is answered."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.config import secrets
from perdure.core.records import RunRecord
from perdure.core.redaction.printable import one_line
from perdure.core.waits import APPROVAL, Standing, describe, title_of
from perdure.store import approvals
from perdure.store.runs import Store


def waited_for(store: Store, run: RunRecord, waits: Sequence[Standing], now: float) -> str:
    """What a run waits for, in a few words; of an approval that was answered, how, since it only has to go on.

    Args:
        store: the state file.
        run: which.
        waits: its open waits.
        now: in seconds since the epoch.

    Raises:
        StateError: the file cannot be read.
    """
    asked = {one.topic for one in waits if one.event == APPROVAL}
    done = (
        [topic for topic, answered in approvals.open_topics(store, run) if answered and topic in asked] if asked else []
    )
    said = [_answered(store, run, topic, now) for topic in done]
    rest = [one for one in waits if one.event != APPROVAL or one.topic not in done]
    return secrets.conceal("; ".join(said + ([describe(rest, now)] if rest or not said else [])))


def _answered(store: Store, run: RunRecord, topic: str, now: float) -> str:
    found = approvals.standing(store, run.id, topic.rpartition("#")[2], now)
    how = ""
    if found is not None and found.answer is not None:
        by = f", by {found.answer.by}" if found.answer.by else ""
        how = f" ({'approved' if found.answer.approved else 'rejected'}{by})"
    return one_line(f"the approval {title_of(topic)} was answered{how}, and it can go on")


def unanswered(store: Store, run: RunRecord) -> list[str]:
    """The titles of the approvals that a run waits for and nobody has answered; what was asked first in front.

    Args:
        store: the state file.
        run: which.

    Raises:
        StateError: the file cannot be read.
    """
    return [secrets.conceal(title_of(topic)) for topic, answered in approvals.open_topics(store, run) if not answered]
