"""What waits, for async code: the names of `perdure` that are awaited here."""

from perdure.api.aio_enqueue import enqueue
from perdure.api.approvals import aapproval as approval
from perdure.api.published import apublish as publish
from perdure.api.published import aset_progress as set_progress
from perdure.api.sh import ash as sh
from perdure.api.signals import asignal as signal
from perdure.api.sleep import asleep as sleep
from perdure.api.sleep import asleep_until as sleep_until
from perdure.api.wait_any import await_any as wait_any
from perdure.api.wait_for import await_for as wait_for

__all__ = [
    "approval",
    "enqueue",
    "publish",
    "set_progress",
    "sh",
    "signal",
    "sleep",
    "sleep_until",
    "wait_any",
    "wait_for",
]
