"""The runs that links are about, in a state file or on a cluster: what a token stands for, and what is done with it.

Everything here blocks; the app calls it on threads.
"""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Protocol

from perdure.core import commands
from perdure.core.records import RESERVED
from perdure.core.signal_links import Link, read
from perdure.core.values import codec
from perdure.core.waits import APPROVAL
from perdure.errors import AlreadyDecided, BadToken, EngineError, NotFound
from perdure.store import approvals, bell, signals
from perdure.store.approvals import Answer, Standing
from perdure.store.link_keys import common_keys, keys_of

if TYPE_CHECKING:
    from perdure.engines.local.engine import LocalEngine
    from perdure.engines.temporal.engine import TemporalEngine
    from perdure.http.bodies import Given


class LinkedRuns(Protocol):
    """Where the runs are. All of it raises what a token can be wrong with: BadToken, LinkExpired."""

    def link(self, token: str, kind: str) -> Link:
        """What a token says, if it is one of that kind."""

    def standing(self, token: str) -> Standing:
        """How the approval of a token stands.

        Raises:
            AlreadyDecided: the run does not ask this any more.
        """

    def answer(self, token: str, given: Given) -> Answer:
        """Answer the approval of a token.

        Raises:
            AlreadyDecided: it was answered, or the run does not wait for it any more.
            RunHasEnded: the run has ended.
        """

    def send(self, token: str, value: object) -> str:
        """Send the signal of a token: "taken", "stored" or "repeated".

        Raises:
            AlreadyDecided: something else was sent with it, or the run does not wait for it any more.
            RunHasEnded: the run has ended.
            NotStorable: the value cannot be stored.
        """


class OfStateFile:
    """The runs of a state file.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def _engine(self) -> LocalEngine:
        from perdure.engines.local import engine_at

        if not self._path.exists():
            raise NotFound(f"there is no state file: {self._path}", "start a run first")
        return engine_at(self._path)

    def link(self, token: str, kind: str) -> Link:
        """What a token says."""
        keys = keys_of(self._path)
        return _of_kind(read(token, keys, self._engine().world.now() if keys else 0.0), kind)

    def standing(self, token: str) -> Standing:
        """How its approval stands."""
        link, engine = self.link(token, "approval"), self._engine()
        found = approvals.standing(engine.store, link.run, link.nonce, engine.world.now())
        return _known(found, link)

    def answer(self, token: str, given: Given) -> Answer:
        """Answer its approval."""
        standing, engine = self.standing(token), self._engine()
        packed, clock = _packed(given), engine.world.now
        answer = approvals.answering(engine.store, standing.run.id, standing.question.topic, packed, clock=clock)
        sent = engine.store.journal.write((), answer)
        bell.ring(self._path)
        return approvals.unpack_answer(packed, sent.letter.stamp)

    def send(self, token: str, value: object) -> str:
        """Send its signal."""
        link, engine = self.link(token, "signal"), self._engine()
        packed = codec.pack_value(value, owner=f"signal {link.event!r}")
        what = (link.run, link.event, link.key, packed, link.nonce)
        send = signals.by_link(engine.store, *what, clock=engine.world.now)
        sent: signals.Sent = engine.store.journal.write((), send)
        bell.ring(self._path)
        return sent.outcome


class OfCluster:
    """The runs of a cluster. What is sent is tried first on a copy of the run's records, which refuses what it has to.

    Args:
        url: where the cluster is.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def _engine(self) -> TemporalEngine:
        from perdure.engines.selection import cluster_at

        return cluster_at(self._url)

    def link(self, token: str, kind: str) -> Link:
        """What a token says."""
        return _of_kind(read(token, common_keys(), time.time()), kind)

    def standing(self, token: str) -> Standing:
        """How its approval stands."""
        link = self.link(token, "approval")
        with self._engine().family(link.run) as store:
            return _known(approvals.standing(store, link.run, link.nonce, time.time()), link)

    def answer(self, token: str, given: Given) -> Answer:
        """Answer its approval."""
        link, packed = self.link(token, "approval"), _packed(given)
        with self._engine().family(link.run) as store:
            standing = _known(approvals.standing(store, link.run, link.nonce, time.time()), link)
            run, topic = standing.run.id, standing.question.topic
            sent: signals.Sent = store.journal.write((), approvals.answering(store, run, topic, packed))
        _refuse_failed(sent)
        value, stamp, first = self._engine().send_once(run, APPROVAL, topic, packed, approvals.id_of(topic))
        answer = approvals.unpack_answer(value, stamp)
        if not first:
            raise approvals.answered_before(run, answer)
        return answer

    def send(self, token: str, value: object) -> str:
        """Send its signal."""
        link = self.link(token, "signal")
        packed = codec.pack_value(value, owner=f"signal {link.event!r}")
        with self._engine().family(link.run) as store:
            what = (link.run, link.event, link.key, packed, link.nonce)
            sent: signals.Sent = store.journal.write((), signals.by_link(store, *what))
        if sent.outcome == "repeated":
            return sent.outcome
        _refuse_failed(sent)
        id = f"{RESERVED}link:{link.nonce}"
        counts, _, first = self._engine().send_once(sent.run.id, link.event, link.key, packed, id)
        if not first and counts != packed:
            raise signals.used_before()
        return sent.outcome if first else "repeated"


def _of_kind(link: Link, kind: str) -> Link:
    if link.kind != kind:
        raise BadToken("this link is for something else", "use the whole link of the message")
    return link


def _known(found: Standing | None, link: Link) -> Standing:
    if found is None:
        raise AlreadyDecided(
            f"run {link.run} does not ask this any more", f"see what became of it: {commands.show(link.run)}"
        )
    return found


def _packed(given: Given) -> bytes:
    return approvals.pack_answer(given.approved, given.by or "the holder of the link", given.note)


def _refuse_failed(sent: signals.Sent) -> None:
    """A cluster keeps nothing for a run that has failed: who sends it is to try again."""
    if sent.run.status == "failed":
        raise EngineError(
            f"run {sent.run.id} has failed: a cluster keeps no signal for it until it is resumed",
            f"send it again when the run is resumed: perdure resume {quote(sent.run.id)}",
        )
