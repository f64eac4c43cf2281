"""What failures have in common that have one reason: the class, the shape of the message, and the user's line."""

from __future__ import annotations

import re

from perdure.core.digests import blake2b
from perdure.core.exceptions.capture import Fault
from perdure.core.exceptions.program_faults import INSTALLED
from perdure.core.patterns import later

_FRAME = later(r'^ *File "([^"\n]+)", line \d+, in ([^\n]+)\n([^\n]*)', re.MULTILINE)
_QUOTED = later(r"'[^'\n]*'|\"[^\"\n]*\"")
_ADDRESS = later(r"[a-z][a-z+.-]*://\S+")
_HEX = later(r"\b(?:0x)?(?=[0-9a-f-]*\d)[0-9a-f]{6,}(?:-[0-9a-f]+)*\b", re.IGNORECASE)
_NUMBER = later(r"\d+(?:[.,:]\d+)*")
_LONGEST = 2_000
"""Characters of a message that are looked at."""


def shape(message: str) -> str:
    """A message without what differs from one item to the next: quoted texts, addresses, ids and numbers."""
    text = message[:_LONGEST].partition("\n")[0]
    for pattern, stand_in in ((_ADDRESS, "<url>"), (_QUOTED, "<text>"), (_HEX, "<id>"), (_NUMBER, "<n>")):
        text = pattern.sub(stand_in, text)
    return text


def users_line(traceback: str) -> str:
    """File, function and text of the last line of the traceback that is in code of the user; empty if none is."""
    found = ""
    for file, function, line in _FRAME.findall(traceback):
        path = file.replace("\\", "/")
        if not path.startswith("<") and not any(part in path for part in INSTALLED):
            source = line.strip()
            found = f"{path.rpartition('/')[2]}:{function}:{'' if source.startswith('File ') else source}"
    return found


def fingerprint(fault: Fault) -> bytes:
    """8 bytes that failures of one reason have in common."""
    text = "\0".join((fault.qualname, shape(fault.message), users_line(fault.traceback)))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
