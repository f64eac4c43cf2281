"""Which artifacts a stored value names: so the store knows which files a run uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from perdure.core.patterns import later

CODEC: Final = "perdure.artifact"
"""The name of the codec of `Artifact`."""

seen = False
"""Has this process had to do with an artifact? Otherwise no value of its names one."""

isolated: Path | None = None
"""Where they lie, in the process of an isolated step."""

_named: Final = later(rb"perdure\.artifact.{1,8}?([0-9a-f]{64})", re.DOTALL)
_digest: Final = later(r"[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Is it the name of a file of artifacts?"""
    return _digest.fullmatch(text) is not None


def named_in(payload: bytes) -> list[str]:
    """The digests of the artifacts that a payload names; one more than it does is no harm."""
    return [digest.decode() for digest in _named.findall(payload)]


def folder_here(scope: Any) -> Path | None:
    """Where the artifacts of a run lie; None where there are no files."""
    found: Path | None = getattr(scope, "artifacts", isolated)
    return found
