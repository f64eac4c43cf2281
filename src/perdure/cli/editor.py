"""JSON in the user's editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from perdure.cli.view.terminal import is_terminal
from perdure.errors import OptionError, UsageError


def edited(data: dict[str, Any]) -> dict[str, Any] | None:
    """What the user makes of `data` in $VISUAL or $EDITOR; None if it was left as it was.

    Raises:
        UsageError: there is no terminal, or no editor; or the editor failed.
        OptionError: what was written is not a JSON object.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise UsageError("there is no terminal for an editor", "give the change: --set PATH=JSON, as often as needed")
    if not editor:
        raise UsageError("neither VISUAL nor EDITOR names an editor", "set one, or use --set PATH=JSON")
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    with tempfile.TemporaryDirectory(prefix="perdure-") as folder:  # 0700: the input may hold secrets
        path = Path(folder) / "input.json"
        path.write_text(text, encoding="utf-8")
        try:
            status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
        except OSError as error:
            raise UsageError(
                f"the editor cannot be started: {editor} ({error.strerror})",
                "set EDITOR to an editor, or use --set PATH=JSON",
            ) from error
        if status != 0:
            raise UsageError(
                f"the editor ended with exit code {status}; nothing was changed",
                "run it again, or give the change: --set PATH=JSON",
            )
        written = path.read_text(encoding="utf-8")
    if written == text:
        return None
    try:
        made = json.loads(written)
    except ValueError as error:
        raise OptionError(
            f"what you wrote is not JSON, so nothing was changed: {error}", "run it again and write JSON"
        ) from None
    if not isinstance(made, dict):
        raise OptionError("what you wrote is not a JSON object; nothing was changed", "give every argument")
    return made
