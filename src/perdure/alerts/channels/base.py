"""What every channel is: a target that alerts are sent to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from perdure.alerts.alert import Alert
from perdure.alerts.sanitize import clean, cut, one_line
from perdure.errors import AlertError

CHECK = "check the address and the credentials of the target, then run: perdure alert test"
"""What to do when a service refuses an alert and says no more."""
WAIT = "wait: the service takes nothing now, and what is due is kept and sent again; ask later: perdure alert test"
"""What to do when a service is busy or broken: neither its address nor the credentials are wrong."""

KNOWN_BY = 6
"""Characters. A shorter part of an address is no secret, and would be found in many texts."""
ERROR = 300
"""Characters of what went wrong with a target."""


def what_to_do(status: int) -> str:
    """What to do about a status of HTTP by which a service did not take an alert (RFC 9110 15.5, 15.6; RFC 6585)."""
    return WAIT if status in (408, 425, 429) or status >= 500 else CHECK


class Target:
    """A place that alerts are sent to.

    Attributes:
        name: what may be shown: no credentials in it.
        digest: identifies the target in the spool, which does not hold its address.
        ready: whether it is set up; nothing is queued for one that is not.
    """

    ready = True

    def __init__(self, name: str, identity: str, secrets: Iterable[str] = ()) -> None:
        self.name = clean(name)
        self.digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        self._secrets = sorted({s for s in secrets if len(s) >= KNOWN_BY}, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"<alert target {self.name}>"

    def send(self, alert: Alert) -> None:
        """Deliver an alert, within 5 s.

        Raises:
            AlertError: it was not delivered. The text holds nothing of the address but its host.
        """
        try:
            self._deliver(alert, alert.text())
        except AlertError as error:
            missing = error.__cause__ if isinstance(error.__cause__, ImportError) else None  # others may hold secrets
            raise self._redacted(error) from missing
        except Exception as error:  # noqa: BLE001  a channel that fails in an unforeseen way has failed
            raise self._redacted(AlertError(f"{type(error).__name__}: {error}", CHECK)) from None

    def _deliver(self, alert: Alert, text: str) -> None:
        raise NotImplementedError

    def _redacted(self, error: AlertError) -> AlertError:
        what = error.what
        for secret in self._secrets:
            what = what.replace(secret, "***")
        what = cut(one_line(clean(what)), ERROR)
        return AlertError(what, error.hint, retry_after=error.retry_after, refused=error.refused)
