"""The statements of a .sql file, by name."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent / "sql"


def load(file: str) -> dict[str, str]:
    """Read the named statements of a file beside this module.

    A statement begins with a line `-- name: NAME` and ends where the next begins.

    Args:
        file: the file's name, for instance "runs.sql".
    """
    statements = {}
    for part in (HERE / file).read_text(encoding="utf-8").split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        statements[name.strip()] = body.strip().rstrip(";")
    return statements
