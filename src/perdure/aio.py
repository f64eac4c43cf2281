"""What waits, for async code: the names of `perdure` that are awaited here."""

from perdure.api.published import apublish as publish
from perdure.api.published import aset_progress as set_progress
from perdure.api.sh import ash as sh
from perdure.api.signals import asignal as signal

__all__ = ["publish", "set_progress", "sh", "signal"]
