"""The worker's side of what people are told of a run: who they are, by the settings here, and how it gets there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shlex
from collections.abc import Callable, Sequence
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from perdure.alerts import recipients
from perdure.alerts.retry_queue import LONGEST_ASKED
from perdure.config import settings
from perdure.core.durations import show
from perdure.core.exceptions import capture
from perdure.core.records import Place
from perdure.core.redaction.printable import one_line
from perdure.engines import registry
from perdure.engines.temporal.commands import queue_of
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.courier import ALERT, COURIER, UNDELIVERED, Sender, id_of
from perdure.engines.temporal.encryption import key_ring
from perdure.engines.temporal.payloads import Progress, decode, encode
from perdure.engines.temporal.run_notices import RunNotice, What
from perdure.errors import AlertError, OptionError, PerdureError

if TYPE_CHECKING:
    from perdure.alerts.alert import Alert
    from perdure.alerts.heartbeat import Signal

T = TypeVar("T")

SHOWN = 3
"""Steps under way that an alert names."""
LOOK = 0.1
"""Seconds between two looks at whether alerts are delivered."""
WINDOWS = msgspec.msgpack.encode({})

_log = logging.getLogger("perdure")


class AlertActivities:
    """What a worker tells.

    Args:
        client: the connection to the cluster.
        cluster: whose it is.
    """

    def __init__(self, client: Client, cluster: Cluster) -> None:
        self._client = client
        self._cluster = cluster
        self._handed_over: dict[str, set[str]] = {}  # the couriers of the runs that this process waits for

    async def tell(self, notice: RunNotice) -> float:
        """Tell who is to hear of it. Of a run that hangs: seconds to look again in, if it has come on after all."""
        alerts, heartbeat, path = _rules(notice)
        signal = _signal(notice.what)
        url = None
        if notice.heartbeat and signal is not None:
            url = heartbeat or _read(lambda: settings.heartbeat_url(path), None)
        nobody: tuple[str, ...] = ()
        targets = nobody if notice.what == "start" else _read(lambda: recipients.addresses(alerts, path), nobody)
        if not targets and not url:
            return 0.0
        under_way: list[str] = []
        if notice.what == "hung":
            under_way, moved = await self._under_way(notice)
            if time() - moved < notice.seconds:
                return max(notice.seconds - (time() - moved), 1.0)
        option = f" --engine {shlex.quote(self._cluster.url)}" if self._cluster.url else ""
        alert = await asyncio.to_thread(_alert, notice, path, option, under_way)
        if url and signal is not None:
            from perdure.alerts.heartbeat import ping

            await asyncio.to_thread(ping, url, signal, notice.run, alert.text() if alert is not None else "")
        if alert is not None and targets:
            await self._hand_over(Sender(notice.workflow, notice.place, path), alert)
        return 0.0

    def has_targets(self, notice: RunNotice) -> bool:
        """Is there somebody here to be alerted of it?"""
        alerts, _, path = _rules(notice)
        nobody: tuple[str, ...] = ()
        return bool(_read(lambda: recipients.addresses(alerts, path), nobody))

    async def _under_way(self, notice: RunNotice) -> tuple[list[str], float]:
        """The steps that an execution waits for, and when one of them has last reported how far it is."""
        id, run = notice.execution
        description = await self._client.get_workflow_handle(id, run_id=run).describe()
        lines, moved, ring = [], 0.0, key_ring(self._client)
        for one in description.raw_description.pending_activities:
            if one.heartbeat_details.payloads:
                moved = max(moved, decode(ring.open(one.heartbeat_details.payloads[0]).data, Progress).moved)
            begun = one.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            since = one.last_started_time if begun else one.scheduled_time
            how = "" if begun else "not begun "
            ago = show(max(time() - since.ToMicroseconds() / 1e6, 0.0))
            lines.append(f"in flight: {one.activity_type.name}, attempt {one.attempt}, {how}for {ago}")
        more = len(lines) - SHOWN
        return [*lines[:SHOWN], f"and {more:,} more in flight"] if more > 0 else lines, moved

    async def _hand_over(self, sender: Sender, alert: Alert) -> None:
        """Give an alert to the courier of the workflow; from now on the cluster keeps it."""
        id = id_of(sender)
        await self._client.start_workflow(
            COURIER,
            args=[encode(sender), WINDOWS],
            id=id,
            task_queue=queue_of(sender.place[0]),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=ALERT,
            start_signal_args=[msgspec.msgpack.encode(alert)],
        )
        if alert.run in self._handed_over:
            self._handed_over[alert.run].add(id)

    async def deliver(self, sender: Sender, alert: Alert) -> None:
        """Send an alert to those of its targets that have not had it.

        Raises:
            ApplicationError: one of them was not reached; Temporal tries again.
        """
        from perdure.alerts.channels import target_address

        alerts, _, path = _rules_of(sender)
        try:
            targets = target_address.parse(recipients.addresses(alerts, path))
        except OptionError as error:
            raise _undelivered("its targets", error) from None
        done: list[str] = list(activity.info().heartbeat_details)
        failures = []
        for target in targets:
            if target.digest in done or not target.ready:
                continue
            try:
                await asyncio.to_thread(target.send, alert)
            except AlertError as error:
                failures.append(_undelivered(target.name, error))
            else:
                done.append(target.digest)
            activity.heartbeat(*done)
        if failures:
            raise max(failures, key=lambda each: each.next_retry_delay or timedelta())

    def expect(self, run: str) -> None:
        """This process waits for the end of that run, and may be the only worker that can deliver its alerts."""
        self._handed_over.setdefault(run, set())

    async def delivered(self, run: str, seconds: float) -> bool:
        """Wait until what this process has handed over of a run that it has waited for is delivered."""
        until = asyncio.get_running_loop().time() + seconds
        for id in self._handed_over.pop(run, ()):
            handle = self._client.get_workflow_handle(id)
            while await _undelivered_of(handle):
                if asyncio.get_running_loop().time() > until:
                    return False
                await asyncio.sleep(LOOK)
        return True


async def _undelivered_of(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        return bool(await handle.query(UNDELIVERED, result_type=int))
    except RPCError:
        return True


def _rules(notice: RunNotice) -> tuple[tuple[str, ...] | None, str | None, str]:
    return _rules_of(Sender(notice.workflow, notice.place, notice.script))


def _rules_of(sender: Sender) -> tuple[tuple[str, ...] | None, str | None, str]:
    """The alert targets and the heartbeat that a workflow names, and the file whose settings hold."""
    try:
        spec = registry.find("workflow", Place(*sender.place), sender.workflow)
    except PerdureError:  # it is not among the scripts here: its runs fail with that
        return None, None, sender.script
    return spec.rules.alerts, spec.rules.heartbeat, spec.file


def _read(read: Callable[[], T], otherwise: T) -> T:
    """A setting; one that cannot be read is said, and harms no run."""
    try:
        return read()
    except OptionError as error:
        _log.warning("no alert and no heartbeat is sent: %s (%s)", one_line(error.what), one_line(error.hint))
        return otherwise


def _signal(what: What) -> Signal | None:
    """What a service hears that expects heartbeats."""
    match what:
        case "start":
            return "start"
        case "done":
            return "success"
        case "failed" | "cancelled":
            return "fail"
    return None


def _alert(notice: RunNotice, path: str, option: str, under_way: Sequence[str]) -> Alert | None:
    """The alert of a notice; None if there is no reason for one."""
    from perdure.alerts.run_alerts import RunEnding, alert_of, hanging, moving

    if notice.what == "hung":
        alert = hanging(notice.workflow, notice.run, path, notice.seconds, under_way, option)
    elif notice.what == "moving":
        alert = moving(notice.workflow, notice.run, path, option)
    else:
        caused = bool(notice.output and notice.fault) and _line(notice.output) == _line(notice.fault)
        ending = RunEnding(
            run=notice.run,
            workflow=notice.workflow,
            path=path,
            status=notice.what,
            output=notice.output,
            saved=notice.saved,
            dead=notice.dead,
            troubled=notice.troubled,
            step=notice.step if caused else "",
            attempt=notice.attempt if caused else 0,
            redrives=False,
        )
        found = alert_of(ending, option)
        if found is None:
            return None
        alert = found
    # The same if it is handed over again, since no answer has come.
    id = hashlib.blake2b(repr((notice.execution, notice.number)).encode(), digest_size=12).hexdigest()
    return msgspec.structs.replace(alert, id=id)


def _line(packed: bytes) -> str:
    return capture.decode(packed).line


def _undelivered(target: str, error: PerdureError) -> ApplicationError:
    hint = f" ({error.hint})" if error.hint else ""
    _log.warning("alert not delivered to %s: %s%s; it waits and is tried again", target, error.what, hint)
    asked = error.retry_after if isinstance(error, AlertError) else None
    later = None if asked is None else timedelta(seconds=min(max(asked, 0.0), LONGEST_ASKED))
    return ApplicationError(
        f"{target}: {error.what}",
        type="AlertError",
        next_retry_delay=later,
        category=ApplicationErrorCategory.BENIGN,
    )
