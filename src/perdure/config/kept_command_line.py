"""The command line of a run, as it is kept with it: whole but for credentials that are known to be such.

docs/decisions/0073-command-lines-of-runs.md says why.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Self

import msgspec

_LONGEST = 100_000
"""Characters of an argument that are looked through for credentials."""


class CommandLine(msgspec.Struct, frozen=True, array_like=True):
    """What a script was given.

    Attributes:
        parts: what follows the name of the script, in UTF-8.
        withheld: the numbers of those that are not kept; they are as they are shown.
        folder: the working directory that they were given in, in the encoding of the file system; empty: not known.
    """

    parts: list[bytes] = []
    withheld: list[int] = []
    folder: bytes = b""

    @classmethod
    def of(cls, arguments: Sequence[str], folder: str = "") -> Self:
        """That of a process: what follows the name of the script, and the working directory."""
        return cls(*_kept(arguments), os.fsencode(folder)) if arguments else cls()

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """The inverse of `packed`.

        Raises:
            msgspec.MsgspecError: it is not of this form.
        """
        return msgspec.msgpack.decode(data, type=cls)

    def packed(self) -> bytes:
        """As it is stored."""
        return msgspec.msgpack.encode(self)

    def arguments(self) -> list[str]:
        """What follows the name of the script; what is withheld as it is shown."""
        return [_text(part) for part in self.parts]

    def elsewhere(self) -> str | None:
        """The folder where it was given, if a relative path in it names something else in this one; else None."""
        folder = os.fsdecode(self.folder)
        try:
            if not folder or os.path.samefile(folder, os.curdir):
                return None
        except OSError:  # one of them is gone
            pass
        for argument in self.arguments():
            path = argument.partition("=")[2] if argument.startswith("-") else argument
            if path and not os.path.isabs(path) and (os.sep in path or os.path.lexists(os.path.join(folder, path))):
                return folder
        return None

    def shown(self, limit: int = 200) -> str:
        """As it is typed into a shell, without credentials, and no longer than so many characters."""
        from perdure.config import secrets

        said = (_text(part, "backslashreplace") for part in self.parts)
        quoted = (text if n in self.withheld else shlex.quote(text) for n, text in enumerate(said))
        text = secrets.conceal(" ".join(quoted))
        return text if len(text) <= limit else text[: limit - 3] + "..."


def _text(part: bytes, errors: str = "surrogatepass") -> str:
    return part.decode("utf-8", errors)


def _kept(arguments: Sequence[str]) -> tuple[list[bytes], list[int]]:
    """Credentials are left out that a name or their form gives away; a value of no known form cannot be known."""
    from perdure.config import secrets
    from perdure.core.redaction.names import HIDDEN, is_secret

    parts: list[bytes] = []
    withheld: list[int] = []
    hides_next = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        is_name = is_secret(name) and (bool(equals) or argument.startswith("-"))
        if hides_next and not argument.startswith("-"):
            kept = HIDDEN
        elif is_name and value:
            kept = f"{name}={HIDDEN}"
        else:
            kept = secrets.conceal(argument) if len(argument) < _LONGEST else argument
        hides_next = is_name and not equals
        if kept != argument:
            withheld.append(len(parts))
        parts.append(kept.encode("utf-8", "surrogatepass"))
    return parts, withheld
