"""What an alert says."""

from __future__ import annotations

import hashlib
import os
import re
import time as _time
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import msgspec

from perdure.alerts.sanitize import clean, cut, one_line

Level = Literal["info", "warning", "error", "critical"]

LEVELS: Final = get_args(Level)
TITLE: Final = 120
"""Characters."""
LINE: Final = 240
"""Characters; a command that is longer is cut too, and says so by its dots."""
LINES: Final = 12
MOST: Final = 6
"""Commands."""
SHORTEST: Final = 20
"""Characters; less of a line is worth nothing."""
TEXT: Final = 900
"""Characters in all: what a phone shows without scrolling twice, and less than any channel's limit but an SMS's."""
ERROR: Final = 600
"""Characters of an error, or of a text given to perdure.alert()."""
KEY: Final = 300

RECOVERED: Final = "recovered"
"""The kind of an alert that closes the one of the same key."""

_PHRASES = {
    "failed": "failed",
    "killed": "was killed",
    "crashed": "crashed",
    "hung": "is hanging",
    "interrupted": "was interrupted",
    "dead-letters": "finished with dead letters",
    "breaker-open": "has an open circuit breaker",
    "approval": "asks for an approval",
    "suspended": "has been suspended for long",
    "over-budget": "spent its budget",
    "state-unusable": "cannot use its state file",
    "on-hold": "is on hold",
    "not-loaded": "cannot be loaded",
    "overdue": "is overdue",
    "unserved": "is not served",
    RECOVERED: "has recovered",
}


def _new_id() -> str:
    return os.urandom(12).hex()


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should know. Its texts are redacted when it is made.

    Attributes:
        what: what happened, in a word or two: "failed", "killed", "crashed", "hung", "interrupted", "dead-letters",
            "breaker-open", "state-unusable", "recovered", "message", "test", or another.
        level: how bad it is.
        workflow: the name of the workflow.
        run: the id of the run.
        step: the name of the step.
        attempt: its attempt, from 1; 0 if there is none.
        error: the user's own error; its first line is shown.
        code: the failure catalogue's class of it.
        saved: how many steps of the run are saved.
        notes: further lines, for instance which steps were in flight.
        commands: what to type, each with what for: ("see more", "perdure show 7f3a").
        link: where it is answered; it is a credential, and the one text that is not redacted.
        host, pid, time: where and when, in seconds since the epoch; this process, now.
        key: alerts of one key are the same failure of the same workflow: one is sent, the others are counted. By
            default made of workflow, what, step, and the class of the error.
        id: unique, so that it is delivered once.
        repeated: how many more of the key there were since the last one that was sent.
        since: when that was, in seconds since the epoch.
    """

    what: str
    level: Level = "error"
    workflow: str = ""
    run: str = ""
    step: str = ""
    attempt: int = 0
    error: str = ""
    code: str = ""
    saved: int | None = None
    notes: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    link: str = ""
    host: str = msgspec.field(default_factory=_host)
    pid: int = msgspec.field(default_factory=os.getpid)
    time: float = msgspec.field(default_factory=_time.time)
    key: str = ""
    id: str = msgspec.field(default_factory=_new_id)
    repeated: int = 0
    since: float = 0.0

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        for name, limit in _TEXTS.items():
            put(self, name, cut(clean(str(getattr(self, name))), limit))
        put(self, "notes", tuple(cut(one_line(clean(note)), LINE) for note in self.notes[:LINES]))
        put(
            self,
            "commands",
            tuple((one_line(_command(for_, 40)), _command(c, LINE)) for for_, c in self.commands[:MOST]),
        )
        put(self, "key", cut(clean(self.key), KEY) if self.key else _default_key(self))

    @property
    def digest(self) -> str:
        """The key as a name for a file."""
        return hashlib.blake2b(self.key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()

    def closes(self, other: Alert) -> bool:
        """Does this alert report the recovery from the other? By key; without an own key, for the whole workflow."""
        if self.what != RECOVERED:
            return False
        return self.key == other.key or (self.key == _default_key(self) and self.workflow == other.workflow)

    def title(self) -> str:
        """One line: level, what, where."""
        if self.what == "message":
            text = _first(self.error)
        else:
            phrase = one_line(_PHRASES.get(self.what, self.what))
            subject = one_line(self.workflow) or "perdure"
            where = f" in step {one_line(self.step)}" if self.step else ""
            text = f"{subject} {phrase}{where}" + (f", attempt {self.attempt}" if self.attempt else "")
        return cut(f"{self.level.upper()}: {text}", TITLE)

    def text(self) -> str:
        """Plain text for a phone: the title, then at most 12 lines; at most 900 characters in all.

        Of what is too long, the facts are cut before the commands.
        """
        commands = [f"{for_}: {command}" for for_, command in self.commands]
        if self.link:
            commands.insert(0, f"answer: {self.link}")
        title = self.title()
        room = TEXT - len(title) - sum(len(line) + 1 for line in commands)
        while commands and room < TEXT // 3:
            room += len(commands.pop()) + 1
        kept: list[str] = []
        for line in self._facts(LINES - len(commands)):
            if room < SHORTEST:
                break
            kept.append(cut(line, min(room - 1, LINE)))
            room -= len(kept[-1]) + 1
        return "\n".join([title, *kept, *commands])

    def plainest(self) -> str:
        """The same in ASCII, for a channel that refused it as it is."""
        return self.text().encode("ascii", "backslashreplace").decode()[:TEXT]

    def as_json(self) -> dict[str, Any]:
        """All of it for a program, `title` and `text` included."""
        return {"title": self.title(), "text": self.text(), **msgspec.to_builtins(self)}

    def _facts(self, most: int) -> list[str]:
        lines = self.error.strip().split("\n")[1:] if self.what == "message" else [_first(self.error)]
        since = datetime.fromtimestamp(self.since, UTC).strftime("%H:%M UTC")
        known = [
            f"{self.repeated:,} more of this since {since}" if self.repeated else "",
            f"kind: {self.code}" if self.code else "",
            "" if self.saved is None else f"saved: {self.saved:,} {'step' if self.saved == 1 else 'steps'}",
            self._where(),
        ]
        known = [line for line in map(one_line, known) if line]
        lines = [line for line in map(one_line, (*lines, *self.notes)) if line]
        return lines[: max(most - len(known), 1)] + known

    def _where(self) -> str:
        parts = [f"run {self.run}" if self.run else "", f"{self.host} pid {self.pid}" if self.pid else self.host]
        if self.what == "message" and self.step:
            parts.insert(0, f"step {self.step}")
        if self.what == "message" and self.workflow:
            parts.insert(0, self.workflow)
        moment = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return ", ".join([part for part in parts if part] + [moment])


_TEXTS = {
    "what": 40,
    "workflow": 60,
    "run": 80,
    "step": 60,
    "error": ERROR,
    "code": 40,
    "host": 60,
}
"""The texts that come from outside, and how many characters of each are kept."""


def _command(text: str, limit: int) -> str:
    return cut(clean(text).replace("\n", "\\n").replace("\t", "\\t"), limit)  # its blanks count, so they stay


def _first(text: str) -> str:
    return next((line for each in text.split("\n") if (line := one_line(each))), "")


def _default_key(alert: Alert) -> str:
    """What stays the same when the same thing goes wrong again: numbers in the error's text do not."""
    first = _first(alert.error)
    kind = re.sub(r"[0-9]+", "#", first) if alert.what == "message" else first.split(":")[0][:80]
    return cut(f"{alert.what}\n{alert.workflow}\n{alert.step}\n{kind}", KEY)
