"""`perdure.approval`: ask a person, and wait for the answer."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.api.builtin import builtin
from perdure.api.durable_wait import awaited, blocking, inside, refuse_to_block
from perdure.api.link_addresses import LinkedRun, address, linked_run
from perdure.config import settings
from perdure.core.durations import Duration, seconds
from perdure.core.policies.retry import Retry
from perdure.core.redaction.printable import one_line
from perdure.core.values import codec
from perdure.errors import AlertError, NotDecodable, OptionError

if TYPE_CHECKING:
    from perdure.alerts.alert import Alert
    from perdure.core.waits import Lapsed, Letter, RunEnd
    from perdure.core.waits import Won as Winner
    from perdure.store.approvals import Question

TITLE = 200
"""Characters of a title."""
DETAILS = 10_000
"""Characters of the details."""
USUAL = 30 * 86_400.0
"""Seconds that a link is good for, if nothing says otherwise."""


class Decision(msgspec.Struct, frozen=True):
    """What became of an approval.

    Attributes:
        approved: True only if a person has approved.
        by: the name that the person gave; None if nobody has answered in time.
        note: what the person wrote.
        at: when it was answered, or when the time was over; in UTC.
    """

    approved: bool
    by: str | None
    note: str
    at: datetime


class _Asking(msgspec.Struct, frozen=True):
    """What is asked: besides the title no part of the inputs of the record, so that an edit is no drift.

    `question` is what the record says, once there is one.
    """

    details: str = ""
    targets: tuple[Any, ...] = ()
    length: float | None = None
    script: str = ""
    title: str = ""
    question: Question | None = None


_asking: ContextVar[_Asking] = ContextVar("perdure_asking")


def approval(
    title: str, *, details: str = "", ask: str | Sequence[str] = (), timeout: Duration | None = None
) -> Decision:
    """Ask a person, and wait for the answer; the run is only rows in its state file meanwhile.

    It is answered with `perdure approve RUN` or `perdure reject RUN` on the machine of the run, or through the link
    that `ask` sends, if a worker serves links (`perdure worker --http`) and PERDURE_PUBLIC_URL says where. One answer
    counts; a second one is told who has decided.

    Args:
        title: the question, a line of at most 200 characters; credentials in it are hidden.
        details: what the person should know, at most 10,000 characters of plain text; credentials are hidden here too.
        ask: where to send the question: targets as those of alerts ("slack://...", "mailto://...", "https://...").
        timeout: (seconds, timedelta or text such as "2d") how long to wait; None: without a bound. If nobody has
            answered then, the decision is "not approved", by None. An answer that was given in time counts, however
            late the run is woken.

    Returns:
        A Decision: `approved`, `by`, `note` and `at`.

    Raises:
        OptionError: a text is too long or not printable, or a target or the timeout is not valid.
        AlertError: none of the targets takes the question, also when it is tried again.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        UsageError: called outside a workflow, in a step, or in a function that an event loop executes.
    """
    asking = _checked(title, details, ask, timeout, sys._getframe(1).f_code.co_filename)
    scope: Any = inside("approval")
    refuse_to_block(scope, "perdure.approval()", "await perdure.aio.approval(...)")
    token = _asking.set(asking)
    try:
        said = _ask(asking.title)
        _asking.set(_with_question(asking, said))
        unsent = [error for target in asking.targets if (error := _sent(said["topic"], target.digest)) is not None]
        _check_sent(asking, unsent)
    finally:
        _asking.reset(token)
    decision: Decision = blocking(scope, "approval", _Approval(said, asking.length), str(said["topic"]))
    return decision


def aapproval(
    title: str, *, details: str = "", ask: str | Sequence[str] = (), timeout: Duration | None = None
) -> Awaitable[Decision]:
    """Ask a person, in async code; takes and raises what `perdure.approval` does."""
    asking = _checked(title, details, ask, timeout, sys._getframe(1).f_code.co_filename)
    return _approve(inside("aio.approval"), asking)


async def _approve(scope: Any, asking: _Asking) -> Decision:
    token = _asking.set(asking)
    try:
        said = await _aask(asking.title)
        _asking.set(_with_question(asking, said))
        unsent = [
            error for target in asking.targets if (error := await _asent(said["topic"], target.digest)) is not None
        ]
        _check_sent(asking, unsent)
    finally:
        _asking.reset(token)
    decision: Decision = await awaited(scope, _Approval(said, asking.length), str(said["topic"]))
    return decision


# -- the records ------------------------------------------------------------------------------------------------------


@builtin("perdure.approval.ask", in_place=True)
def _ask(title: str) -> dict[str, Any]:
    return _asked(title)


@builtin("perdure.approval.aask", in_place=True)
async def _aask(title: str) -> dict[str, Any]:
    return _asked(title)


def _asked(title: str) -> dict[str, Any]:
    from perdure.store.approvals import Question, pack_question

    asking = _asking.get()
    context, run = linked_run("approval")
    now, nonce = run.now(), context.idempotency_key()[:16]
    question = Question(title, asking.details, nonce, now, now + (USUAL if asking.length is None else asking.length))
    return pack_question(question)


def _with_question(asking: _Asking, said: dict[str, Any]) -> _Asking:
    from perdure.store.approvals import unpack_question

    return msgspec.structs.replace(asking, question=unpack_question(said))


def _sent(topic: str, target: str) -> AlertError | None:
    """Send the question to a target; what became of it is a record. Returns why it could not be sent."""
    try:
        _send(topic, target)
    except AlertError as error:
        return error
    return None


async def _asent(topic: str, target: str) -> AlertError | None:
    try:
        await _asend(topic, target)
    except AlertError as error:
        return error
    return None


def _is_refused(error: BaseException) -> bool:
    """Has the target answered that it does not take this message?"""
    return isinstance(error, AlertError) and error.refused


_AGAIN = Retry(never=_is_refused)


@builtin("perdure.approval.send", retry=_AGAIN, in_place=True)
def _send(topic: str, target: str) -> None:
    _sending(topic, target)


@builtin("perdure.approval.asend", retry=_AGAIN, in_place=True)
async def _asend(topic: str, target: str) -> None:
    import asyncio

    await asyncio.to_thread(_sending, topic, target)


def _sending(topic: str, digest: str) -> None:
    """Send what was asked to the target that goes by that digest.

    Raises:
        AlertError: it does not take it.
    """
    _, run = linked_run("approval")
    asking = _asking.get()
    (target,) = (one for one in asking.targets if one.digest == digest)
    assert asking.question is not None
    try:
        target.send(_message(asking.question, run, asking.script))
    except AlertError as error:
        what = f"an approval cannot be asked at {target.name}: {error.what}"
        raise AlertError(what, error.hint, refused=error.refused) from error.__cause__


def _check_sent(asking: _Asking, unsent: list[AlertError]) -> None:
    """See that somebody was asked.

    Raises:
        AlertError: the question was sent to nobody.
    """
    if unsent and len(unsent) == len(asking.targets):
        raise unsent[0]
    if unsent:
        import logging  # not for scripts that ask nothing
    for error in unsent:
        logging.getLogger("perdure").warning("%s", error.what)


def _message(question: Question, run: LinkedRun, script: str) -> Alert:
    from shlex import quote

    from perdure.alerts.alert import Alert
    from perdure.core.signal_links import Link

    url = ""
    if settings.public_url(script):
        link = Link("approval", run.root, "", "", question.nonce, int(question.expires) + 1)
        url = address(run, "approve", link, script)
    option = run.option(script)
    return Alert(
        what="approval",
        level="info",
        workflow=run.workflow,
        run=run.root,
        error=question.title,
        notes=tuple(line for line in question.details.splitlines() if line.strip()),
        commands=(
            ("yes", f"perdure approve {quote(run.root)}{option}"),
            ("no", f"perdure reject {quote(run.root)}{option}"),
        ),
        link=url,
        key=f"approval\n{run.root}\n{question.nonce}",
        id=question.nonce,
    )


# -- the wait ---------------------------------------------------------------------------------------------------------


class _Approval:
    """The wait for the answer. See core/execution/waiting.py: Wait."""

    name = "perdure.approval"

    def __init__(self, said: dict[str, Any], length: float | None) -> None:
        from perdure.core.waits import APPROVAL, Wanted

        topic = str(said["topic"])
        self.wanted = (Wanted(APPROVAL, topic, length=length),)
        self.since: tuple[float, float] | None = None
        self.plan: Any = self
        self.given: list[Any] = [topic, length]

    def result(self, won: Winner, found: Letter | RunEnd | None) -> bytes:
        """What was answered; an answer that is none is set aside."""
        from perdure.store.approvals import unpack_answer

        try:
            answer = unpack_answer(getattr(found, "value", b"\xc0"), won.at)
        except ValueError as error:
            raise NotDecodable(f"the answer to an approval is none: {error}", "run `perdure approve`") from None
        return msgspec.msgpack.encode([answer.approved, answer.by, answer.note, won.at])

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        """Nobody has answered: not approved."""
        return msgspec.msgpack.encode([False, None, "", lapsed.at])

    def unpack(self, data: bytes) -> Decision:
        """What the record says."""
        approved, by, note, at = msgspec.msgpack.decode(data)
        return Decision(approved, by, note, datetime.fromtimestamp(at, UTC))


def _checked(title: object, details: object, ask: Any, timeout: Duration | None, script: str) -> _Asking:
    if not isinstance(title, str) or not title.strip() or not title.isprintable() or len(title) > TITLE:
        raise OptionError(
            f"the title of an approval is {title!r}", f"give a printable line of at most {TITLE} characters"
        )
    if not isinstance(details, str) or len(details) > DETAILS:
        raise OptionError("the details of an approval are no text, or too long", f"give at most {DETAILS:,} characters")
    length = None if timeout is None else seconds(timeout, option="timeout")
    targets: tuple[Any, ...] = ()
    if ask:
        from perdure.alerts import recipients

        targets = tuple(recipients.targets(ask if isinstance(ask, str) else list(ask), script))
    from perdure.config.secrets import conceal

    # What is asked is stored and shown. The title is concealed first: it is what the question goes by.
    title, details = conceal(one_line(title)), conceal(details)
    codec.pack_value([title, details], owner="perdure.approval")
    return _Asking(details, targets, length, script, title)
