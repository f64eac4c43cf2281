"""What a crash test copies for each kill."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from perdure.crashtest.scratch import copy_folder


def test_pipes_and_sockets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They belong to processes: a run that waits has a pipe by its state file, and an editor a socket in a folder."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    os.mkfifo(source / "bell")
    (source / "data").write_text("x")
    (source / "link").symlink_to("data")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(source)  # the path of a socket is short
        listening.bind("socket")
        copy_folder(source, target, tmp_path / "copies")
    assert sorted(path.name for path in target.iterdir()) == ["data", "link"]
