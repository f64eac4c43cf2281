"""JSON in somebody's editor; and files that are nobody else's."""

from __future__ import annotations

import errno
import json
import os
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from perdure.cli.view.terminal import is_terminal
from perdure.config.ownership import stranger
from perdure.errors import OptionError, UsageError


def edited(data: dict[str, Any]) -> dict[str, Any] | None:
    """What somebody makes of `data` in $VISUAL or $EDITOR; None if it was left as it was.

    Raises:
        UsageError: there is no terminal, or no editor; or the editor failed.
        OptionError: what was written is not a JSON object.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise UsageError(
            "there is no terminal for an editor", "say what is to change: --set PATH=JSON, as often as needed"
        )
    if not editor:
        raise UsageError("neither VISUAL nor EDITOR names an editor", "set one, or use --set PATH=JSON")
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    with tempfile.TemporaryDirectory(prefix="perdure-") as folder:  # 0700: the input may hold secrets
        path = Path(folder) / "input.json"
        path.write_text(text, encoding="utf-8")
        try:
            status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
        except OSError as error:
            raise UsageError(f"the editor cannot be started: {editor} ({error.strerror})", "set EDITOR") from error
        if status != 0:
            raise UsageError(f"the editor ended with exit code {status}; nothing was changed")
        written = path.read_text(encoding="utf-8")
    if written == text:
        return None
    try:
        made = json.loads(written)
    except ValueError as error:
        raise OptionError(f"what you wrote is not JSON, so nothing was changed: {error}", "try again") from None
    if not isinstance(made, dict):
        raise OptionError("what you wrote is not a JSON object; nothing was changed", "leave every argument in")
    return made


@contextmanager
def private(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, made for nobody else to read; it takes the place of the one before when it is complete.

    What is no regular file (`/dev/stdout`, a pipe) is written to as it is.

    Raises:
        UsageError: it cannot be written, is a link to a file, or belongs to another user.
    """
    try:
        draft = _draft(path)
        target = draft or path
        flags = os.O_CREAT | os.O_EXCL if draft else 0
        descriptor = os.open(target, os.O_WRONLY | flags, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "name another file") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            if draft:
                stream.flush()
                os.fsync(stream.fileno())
        if draft:
            os.replace(draft, path)
    except BaseException:
        if draft:
            draft.unlink(missing_ok=True)
        raise


def _draft(path: Path) -> Path | None:
    """Where the new content is written first; None if it goes where it belongs at once."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        named, found = os.lstat(path), os.stat(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise PermissionError(errno.EPERM, "it is a link that leads nowhere") from None
        return draft
    if other := stranger(found):
        raise PermissionError(errno.EPERM, f"it belongs to {other}")
    if not stat.S_ISREG(found.st_mode):
        return None
    if stat.S_ISLNK(named.st_mode):
        raise PermissionError(errno.EPERM, f"it is a link, to {os.readlink(path)}")
    return draft
