"""The version of perdure, as state files record it; a test holds it to that of the package (which is slow to ask)."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
