"""`perdure approve` and `perdure reject`: answer what a run asks, on the machine of the run."""

from __future__ import annotations

import getpass
from shlex import quote

import msgspec

from perdure.core.redaction.printable import one_line
from perdure.core.waits import APPROVAL, title_of
from perdure.engines.features import Feature
from perdure.engines.selection import cluster_at
from perdure.errors import NotFound, UsageError
from perdure.operations.find_run import find_run
from perdure.operations.location import Location, opened, opened_for_change
from perdure.operations.signals import SignalView, view_of
from perdure.store import approvals, bell
from perdure.store.signals import Sent


class AnswerView(msgspec.Struct, frozen=True):
    """An approval that was answered: of which run, what it had asked, and how the run stands, as in a SignalView."""

    run: str
    title: str
    approved: bool
    by: str
    status: str
    pid: int | None
    worker: int | None
    cluster: bool = False

    def text(self) -> str:
        """The same in a sentence, and who goes on with the run."""
        said = "approved" if self.approved else "rejected"
        return f"{self.run}: {self.title!r} was {said} by {one_line(self.by)}{self._signal.next}"

    @property
    def advice(self) -> str:
        """What makes the run go on, if nothing does."""
        return self._signal.advice

    @property
    def _signal(self) -> SignalView:
        return SignalView(self.run, "", "taken", self.status, self.pid, self.worker, self.cluster)


def answer(
    location: Location, reference: str, approved: bool, *, note: str = "", by: str = "", title: str = ""
) -> AnswerView:
    """Answer an approval that a run waits for.

    Args:
        location: where the run is.
        reference: the run.
        approved: the answer.
        note: for the workflow.
        by: who answers; by default the user of this process.
        title: a part of what was asked, if the run asks several things.

    Raises:
        UsageError: it asks several.
        NotFound: there is no such run, or it asks nothing, or nothing of that title.
        AlreadyDecided: its time is over, or another process was faster.
        RunHasEnded: the run has ended; on a cluster also if it has failed.
        EngineError: the cluster cannot be reached.
        StateError: the state file cannot be written.
    """
    packed = approvals.pack_answer(approved, by or _user(), note)
    on_file = location.supports(Feature.STATE_FILE)
    with opened_for_change(location) if on_file else opened(location, reference) as store:
        run = find_run(store, reference)
        topics = approvals.open_topics(store, run)
        is_open = any(title in title_of(topic) for topic, _ in topics)
        before = () if is_open else approvals.topics_asked(store, run)
        topic = next((one for one in before if title in title_of(one)), None) or _chosen(run.id, topics, title)
        sent: Sent = store.journal.write((), approvals.answering(store, run.id, topic, packed))
    if not on_file:  # what was written so far is a copy of the moment
        return _sent_to_cluster(location, sent.run.id, topic, packed, approved)
    bell.ring(location.path)
    said = approvals.unpack_answer(packed, sent.letter.stamp)
    view = view_of(location.path, "", sent)
    return AnswerView(view.run, title_of(topic), approved, said.by, view.status, view.pid, view.worker)


def _sent_to_cluster(location: Location, run: str, topic: str, packed: bytes, approved: bool) -> AnswerView:
    value, stamp, first = cluster_at(location.engine).send_once(run, APPROVAL, topic, packed, approvals.id_of(topic))
    said = approvals.unpack_answer(value, stamp)
    if not first:
        raise approvals.answered_before(run, said)
    return AnswerView(run, title_of(topic), approved, said.by, "running", None, None, cluster=True)


def _chosen(run: str, topics: list[tuple[str, bool]], title: str) -> str:
    """The one that is meant: of those that were not answered yet, if there are any."""
    fitting = [(topic, answered) for topic, answered in topics if title in title_of(topic)]
    found = [topic for topic, answered in fitting if not answered] or [topic for topic, _ in fitting]
    if len(found) == 1:
        return found[0]
    asked = ", ".join(repr(title_of(topic)) for topic, _ in topics[:5]) + (", ..." if len(topics) > 5 else "")
    if not topics:
        raise NotFound(f"run {run} waits for no approval", f"see what it does: perdure why {quote(run)}")
    if not found:
        raise NotFound(f"run {run} asks nothing with {title!r} in it; it asks {asked}", "give a part of what it asks")
    raise UsageError(f"run {run} asks {len(found)} things: {asked}", "name one by a part of it: --title TEXT")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name
        return "a user without a name"
