"""Lines of JSON on standard error hold for steps in processes of their own too: nothing else comes there, no secret."""

from __future__ import annotations

import json

from conftest import Scripts

SCRIPT = """
import logging, sys, threading
import perdure.errors
from perdure import step, workflow
logging.basicConfig(level=logging.INFO)
log = logging.getLogger("shop")
print("loading password=hunter1111", file=sys.stderr)

def says(n):
    log.warning("charging %d token=abcdef1234567", n)
    print("printed", n, "token=abcdef1234567", file=sys.stderr)
    thread = threading.Thread(target=log.warning, args=("of a thread token=abcdef1234567",))
    thread.start(); thread.join()
    sys.stderr.write("no end of a line %d token=abcdef1234567" % n)

@step
def mapped(n: int) -> int:
    says(n); return n

@step(isolate=True, retry=None)
def isolated(n: int) -> int:
    says(n)
    if n == 4:
        raise SystemExit("ends token=abcdef1234567")
    return n

@workflow
def wjl() -> int:
    mapped.map([2], processes=1); isolated(3)
    try: isolated(4)
    except perdure.errors.ProcessDied: pass
    return 1
if __name__ == "__main__": wjl()
"""


def test_standard_error_is_json_in_all_processes(scripts: Scripts) -> None:
    """With `--log-json` what is logged, printed, left without the end of its line, or said of an end by steps with
    `processes=` and `isolate=True` is a line of JSON each, that names the run, the workflow and the step, once."""
    scripts.write(SCRIPT, "job.py")
    command = scripts.write("import runpy; runpy.run_module('perdure', run_name='__main__')", "command.py")
    done = scripts.run(command, "run", "--log-json", "job.py")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert "abcdef1234567" not in done.stderr
    assert "hunter1111" not in done.stderr
    for n, name in ((2, "mapped"), (3, "isolated"), (4, "isolated")):
        for text, logger in (("charging {}", "shop"), ("printed {}", "stderr"), ("no end of a line {}", "stderr")):
            (one,) = [each for each in found if each["message"].startswith(text.format(n))]
            assert (one["logger"], one["workflow"], one["step"], one["attempt"]) == (logger, "wjl", name, 1)
            assert one["run"].startswith("wjl-")
    assert sum(each["message"].startswith("of a thread") for each in found) == 3
    assert sum(each["message"].startswith("ends token") for each in found) == 1
