"""What a person sees while a run goes on: a live picture on a terminal, plain lines elsewhere, never too many."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import warm
from perdure.cli.view.progress_lines import FULL
from perdure.cli.view.stream_proxy import StreamProxy

SOURCE = Path(__file__).parents[2] / "src"
STUCK = 60
"""Seconds without output after which a test fails rather than hangs."""

FLOW = """
import logging, os, subprocess, sys
import perdure
from perdure import Retry, step, workflow

logging.basicConfig(level=logging.INFO, format="logged %(message)s")

@step(retry=Retry(attempts=2, delay="1s", jitter=0))
def shaky() -> int:
    if perdure.attempt() == 1:
        raise ConnectionError("refused")
    return 1

@step
def chunks() -> int:
    perdure.progress(3, 7, "chunks")
    logging.info("half way")
    print("printed")
    os.read(0, 1)  # not sys.stdin: who is asked something sees no picture
    return 2

@step(retry=None)
def item(n: int) -> int:
    if n == 40:
        raise ValueError("forty")
    return n

@workflow
def flow() -> int:
    return shaky() + chunks() + len(item.map(range(60), concurrency=4).results)
"""


def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    return {**clean, "PYTHONPATH": str(SOURCE), "TERM": "xterm-256color", "PYTHONUTF8": "1"}


def on_a_terminal(
    folder: Path, *args: str, when: bytes, times: int = 1, then: Callable[[subprocess.Popen[bytes], int], object]
) -> tuple[bytes, bytes, int]:
    """Run the command on a terminal; do something when something has been drawn so many times.

    Returns: what was shown before and after, and the exit code.
    """
    terminal, theirs = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    command = [sys.executable, "-m", "perdure", *args]
    with warm.Popen(command, cwd=folder, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = [b"", b""]
        seen = 0
        try:
            while data := _read(terminal):
                shown[seen] += data
                if not seen and shown[0].count(when) >= times:
                    seen = 1
                    then(process, terminal)
        except BaseException:
            process.kill()
            raise
    os.close(terminal)
    return shown[0], shown[1], process.returncode


def _read(terminal: int) -> bytes:
    if not select.select([terminal], [], [], STUCK)[0]:
        raise AssertionError("nothing more is drawn, and the command does not end")
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side is closed
        return b""


def test_a_terminal_gets_a_live_picture_and_a_summary(tmp_path: Path) -> None:
    """The wait before a retry with its reason, progress inside a step, redrawn while nothing happens; the script's own
    prints and log lines unharmed, a summary and the result at the end."""
    (tmp_path / "flow.py").write_text(FLOW)
    before, after, code = on_a_terminal(
        tmp_path, "run", "flow.py", when=b"3/7 chunks", times=4, then=lambda _, terminal: os.write(terminal, b"\r")
    )
    assert code == 3
    assert b"again in" in before
    assert b"after ConnectionError: refused" in before
    shown = before + after
    for line in (b"printed\r\n", b"logged half way\r\n", b"ran in", b", at attempt 2", b"1 dead letter"):
        assert line in shown, line
    for line in (b"printed", b"logged"):
        assert shown[: shown.index(line)].endswith((b"\n", b"\x1b[2K")), f"{line!r} runs through the picture"
    last = after.splitlines()
    assert last[-1].endswith(b"62")
    assert b"61 steps executed; 1 dead letter, see: perdure dlq ls" in last[-2]


ASKS = """
from perdure import step, workflow

@step
def ask() -> str:
    print("about to ask")
    return input("really go on? [y/N] ")

@workflow
def flow() -> str:
    return ask()
"""


def test_a_question_is_seen_on_a_terminal(tmp_path: Path) -> None:
    """Nothing is drawn over it, nor over what is typed; afterwards the picture is back."""
    (tmp_path / "flow.py").write_text(ASKS)
    before, after, code = on_a_terminal(
        tmp_path, "run", "flow.py", when=b"[y/N] ", then=lambda _, terminal: os.write(terminal, b"yes\r")
    )
    assert code == 0
    assert b"about to ask\r\n" in before
    question = (before + after).partition(b"really go on? [y/N] ")[2]
    assert question.startswith(b"yes\r\n")
    assert after.splitlines()[-1].endswith(b"'yes'")


def test_an_interrupt_on_a_terminal_leaves_one_line(tmp_path: Path) -> None:
    """No traceback, the cursor is back, and the line says how to go on."""
    (tmp_path / "flow.py").write_text(FLOW)
    _, after, code = on_a_terminal(
        tmp_path, "run", "flow.py", when=b"3/7 chunks", then=lambda process, _: process.send_signal(signal.SIGINT)
    )
    assert code == 130
    assert b"Traceback" not in after
    assert b"interrupted; 1 step saved; run again to resume" in after.splitlines()[-1]
    assert b"\x1b[?25h" in after, "the cursor stays hidden"


def test_a_pipe_gets_plain_lines_with_the_time(tmp_path: Path) -> None:
    """No escape sequence, one line a step, failures with their reason; many items of a batch are summed up."""
    (tmp_path / "flow.py").write_text(FLOW)
    command = [sys.executable, "-m", "perdure", "run", "flow.py"]
    done = warm.run(command, cwd=tmp_path, env=environment(), input="\n", text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (3, "printed\n62\n")
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0][:10].count("-") == 2
    assert lines[0].endswith("started")
    texts = [line[20:] for line in lines]
    assert "shaky() failed at attempt 1: ConnectionError: refused" in texts
    assert "shaky() is tried again in 1 s" in texts
    assert "item(40) failed at attempt 1: ValueError: forty" in texts
    assert texts[-2] == "item: 60 of 60 items, 1 dead letter"
    assert sum(text.startswith("item(") and "ran in" in text for text in texts) == FULL


def test_what_is_printed_while_a_picture_is_drawn_is_kept_whole(tmp_path: Path) -> None:
    """Before and after, text goes straight through; in between whole lines wait for the drawer; nothing is lost."""
    with (tmp_path / "out").open("w+") as stream:
        proxy = StreamProxy(stream)
        lines: list[str] = []
        proxy.write("before\n")
        proxy.begin(lines.append)
        print("one", "two", file=proxy)
        proxy.write("half ")
        proxy.flush()
        proxy.write("a line\nand a rest")
        assert lines == ["one two", "half a line"]
        proxy.end()
        proxy.write(" goes on\n")
        proxy.flush()
        stream.seek(0)
        assert stream.read() == "before\nand a rest goes on\n"
