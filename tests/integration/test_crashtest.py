"""`perdure crashtest` finds what a kill repeats, loses or changes, and has nothing to say of sound scripts."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.integration.crash_survivors import KEYED, SOUND
from tests.integration.crash_victims import FAULTS, HEAD, NOTIFY, target
from tests.integration.warm_nursery import nursery_begins_warm

from conftest import Scripts
from perdure.crashtest.campaign import Report, crashtest
from waiting import until

__all__ = ["nursery_begins_warm"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")


class Service(BaseHTTPRequestHandler):
    """Takes every request, and answers 200."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A service on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def tried(folder: Path, text: str, port: int, patience: float = 60, kills: int = 4) -> Report:
    """What killing that script has found; a few kills are enough for what is planted here."""
    script = target(folder, HEAD.format(port=port) + text, workflow="main")
    return crashtest(script, kills=kills, seconds=600, patience=patience)


@pytest.mark.parametrize("planted", FAULTS)
def test_planted_faults_are_found(tmp_path: Path, port: int, planted: str) -> None:
    """Each is named by its kind and its step, and nothing else is said of the script."""
    expected, kills, text = FAULTS[planted]
    report = tried(tmp_path, text, port, patience=8 if ("stuck", "work") in expected else 60, kills=kills)
    found = {(finding.kind, finding.step) for finding in report.findings}
    assert expected <= found, report
    # What reaches a step by chance is seen twice: when the run is replayed, and when it is resumed.
    both = {"drift", "non-deterministic"}
    kinds = {kind for kind, _ in expected}
    assert {kind for kind, _ in found} <= (kinds | both if kinds & both else kinds), report


@pytest.mark.parametrize("script", SOUND)
def test_a_sound_script_has_no_findings(tmp_path: Path, port: int, script: str) -> None:
    """Every kill is survived, each step is killed, and a clean report says why it is clean."""
    kills = 4 if script != KEYED else 12
    report = tried(tmp_path, SOUND[script], port, kills=kills)
    assert report.findings == []
    assert report.finished
    assert report.kills == kills
    if script == KEYED:
        assert {(each.how, each.effect.step) for each in report.repeated} == {
            *(("keyed", step) for step in ("charge", "order", "bill")),
            *(("repeatable", step) for step in ("put", "report", "upsert", "export")),
        }


OUTSIDE = """
import os, socket, subprocess, urllib.request
from perdure import step, workflow
@step(retry=None)
def reach(how: str) -> str:
    if how == "httpx":
        import httpx
        httpx.post("http://192.0.2.2/pay", content=b"x", timeout=5)
    elif how == "host":
        urllib.request.urlopen(urllib.request.Request("http://192.0.2.1/pay", b"x", method="POST"), timeout=5)
    elif how == "name":
        socket.create_connection(("api.example.com", 443), timeout=5)
    elif how == "program":
        subprocess.run(["touch", os.environ["OUTSIDE"]], check=True)
    elif how == "shell":
        subprocess.run("mkdir " + os.environ["OUTSIDE"], shell=True, check=True)
    elif how == "file":
        open(os.environ["OUTSIDE"], "w").close()
    elif how == "remove":
        os.remove(os.environ["KEPT"])
    elif how == "memory":
        with open(os.devnull, "w") as nothing, open("/dev/shm/perdure-crashtest", "w"):
            nothing.write("x")
    return how
@workflow
def main(hows: str) -> None:
    failed = None
    for how in hows.split():
        try:
            reach(how)
        except Exception as error:
            failed = error
    if failed:
        raise failed
"""
HOWS = {
    "host": "host",
    "httpx": "host",
    "name": "host",
    "program": "program",
    "shell": "program",
    "file": "path",
    "remove": "path",
    "memory": "path",
}
"""What reaches outside, and the kind of what is refused."""


def test_nothing_outside_of_the_copy_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts, programs and files are refused and named; a run that needs them is not called tested."""
    outside, kept = tmp_path / "outside", tmp_path / "kept"
    kept.touch()
    monkeypatch.setenv("OUTSIDE", str(outside))
    monkeypatch.setenv("KEPT", str(kept))
    (tmp_path / "scripts").mkdir()
    tested = target(tmp_path / "scripts", OUTSIDE, arguments=[" ".join(HOWS)])
    report = crashtest(tested, kills=1, seconds=60, patience=60)
    assert [each.kind for each in report.refused] == list(HOWS.values())
    assert "perdure crashtest refuses" in report.ending
    assert report.findings == []  # what was refused was not sent twice
    assert not report.finished
    assert not outside.exists()
    assert kept.exists()


def test_what_is_allowed_and_what_is_stubbed(tmp_path: Path) -> None:
    """A program that may be started is; a step that is replaced is not executed."""
    text = OUTSIDE.replace('os.environ["OUTSIDE"]', '"inside"')
    (tmp_path / "a").mkdir()
    report = crashtest(target(tmp_path / "a", text, arguments=["program"], programs=["touch"]), kills=1, patience=60)
    assert (report.ending, report.refused) == ("", [])
    (tmp_path / "b").mkdir()
    stubbed = target(tmp_path / "b", OUTSIDE, arguments=["host"], stubs={"reach": "paid"})
    report = crashtest(stubbed, kills=1, patience=60)
    assert (report.ending, report.refused, report.steps) == ("", [], 1)


def test_the_command_prints_findings_and_leaves_no_trace(scripts: Scripts, port: int) -> None:
    """Exit code 1 and a line that names step, effect and place; the folder is as it was, and holds no state."""
    script = scripts.write(HEAD.format(port=port) + NOTIFY, "job.py")
    command = "import sys; from perdure.cli import main; sys.argv[0] = 'perdure'; sys.exit(main())"
    ours = scripts.write(command, "command.py")
    done = scripts.run(ours, "crashtest", str(script), "--kills", "6")
    assert done.returncode == 1, done.stderr
    found = next(line for line in done.stdout.splitlines() if line.startswith("unsafe"))
    assert f"notify: POST http://127.0.0.1:{port}/notify sent twice" in found
    assert "[phantom-retry]" in found
    assert "job.py:" in found
    assert sorted(path.name for path in scripts.folder.iterdir()) == ["command.py", "job.py"]
    as_json = scripts.run(ours, "crashtest", str(script), "--kills", "3", "--json")
    assert json.loads(as_json.stdout)["findings"][0]["kind"] == "unsafe"


def test_an_interrupt_ends_all_processes_and_removes_the_copies(scripts: Scripts) -> None:
    """Also while a life hangs."""
    script = scripts.write(
        "import os, time\nfrom perdure import workflow\n@workflow\ndef main() -> None:\n"
        "    print('PID', os.getpid(), flush=True)\n    time.sleep(1000)\n",
        "job.py",
    )
    ours = scripts.write(
        "import sys; from perdure.cli import main; sys.argv[0] = 'perdure'; sys.exit(main())", "command.py"
    )
    copies = scripts.folder / "copies"
    copies.mkdir()
    process = scripts.start(ours, "crashtest", str(script), "--time", "1000s", TMPDIR=str(copies))
    logs = until(lambda: [log for log in copies.rglob("*.log") if log.read_text().endswith("\n")], "the life")
    pid = int(logs[0].read_text().split()[-1])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(copies.iterdir()) == []
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1]


def test_no_credential_of_an_error_is_printed(tmp_path: Path) -> None:
    """What an exception says may hold one."""
    text = (
        "from perdure import workflow\n@workflow\ndef main() -> str:\n"
        "    raise RuntimeError('refused: postgres://job:hunter22secret@db/x')\n"
    )
    report = crashtest(target(tmp_path, text), kills=1, patience=60)
    assert report.ending.startswith("RuntimeError: refused")
    assert "hunter22secret" not in report.ending
