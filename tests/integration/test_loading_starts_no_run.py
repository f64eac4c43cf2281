"""Promise P13: to load a script, a module or a cell never starts a run, and an edited cell goes on with its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.script_places import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder of its own."""
    return Place(tmp_path)


PLAIN = """
import os
import perdure
from perdure import step, workflow
@step(retry=None, isolate={isolate})
def pay(n):
    if n == 2 and not os.path.exists("fixed"): raise ValueError(n)
    os.write(1, b"PAY %d\\n" % n)
    return n
@workflow
def main():
    pay.map([1, 2])
{start}
print("behind")
"""

STARTS = {
    "a call": "main()",
    "a handle": "main.start().result()",
    "a step": "pay(1)",
    "a map": "pay.map([1])",
    "a lock": "with perdure.lock('x'): main()",
    "a loop": "import asyncio\nasync def go(): main()\nasyncio.run(go())",
    "a swallowing loop": "for _ in range(3):\n    try: main()\n    except Exception: pass",
    "a thread": "import threading\nt = threading.Thread(target=main); t.start(); t.join(); main()",
}


@pytest.mark.parametrize("start", STARTS)
def test_a_script_without_a_main_guard_runs_once(place: Place, start: str) -> None:
    """`perdure run` carries the workflow out once, and a redrive pays nothing else; one line says where it starts."""
    place.write(PLAIN.format(start=STARTS[start], isolate=False), "plain.py")
    out = place.perdure("run", "plain.py", status=3)
    assert out.count("PAY") == 1
    assert "behind" not in out
    line = next(line for line in out.splitlines() if "when the file is loaded" in line)
    assert "of plain.py" in line
    assert '__name__ == "__main__"' in line
    place.write("", "fixed")
    out = place.perdure("dlq", "redrive", "1", status=0)
    assert out.count("PAY") == 1
    assert "PAY 2" in out


@pytest.mark.parametrize("package", [True, False], ids=["package", "script"])
def test_an_isolated_step_of_a_script_without_a_main_guard(place: Place, package: bool) -> None:
    """Its process loads the script, and no more."""
    name = "app/plain.py" if package else "plain.py"
    text = PLAIN.format(start="main()", isolate=True)
    if package:
        place.write("", "app/__init__.py")
        place.write("def told(): return 1", "app/near.py")
        text = f"from .near import told\n{text}"
    place.write(text, name)
    place.write("", "fixed")
    out = place.python(*(["-m", "app.plain"] if package else [name]), status=0)
    assert sorted(out.split("\n")) == ["", "PAY 1", "PAY 2", "behind"]


def test_an_import_that_starts_a_run_is_refused(place: Place) -> None:
    """In a package, the script behind it would never be reached."""
    place.write("from .flows import main\nmain()", "app/__init__.py")
    place.write("from perdure import workflow\n@workflow\ndef main(): print('RUN')", "app/flows.py")
    out = place.perdure("run", "app/flows.py")
    assert "cannot be loaded" in out
    assert "RUN" not in out


CELL = """
import os
from perdure import step, workflow
@step(retry=None)
def load(): print("LOAD", flush=True); return 1
@step(retry=None)
def fail():
    if not os.path.exists("fixed"): raise RuntimeError("stop")
@workflow
def main():
    n = load(); fail(); return n
try: print("result", main())
except RuntimeError as error: print("failed", error)
"""


@pytest.mark.parametrize(
    "name", ["/tmp/ipykernel_{pid}/{n}.py", "<ipython-input-{n}-abc>", "<python-input-{n}>", "<string>"]
)
@pytest.mark.parametrize("namespace", ["{'__name__': '__main__'}", "{}"])
def test_an_edited_cell_goes_on_with_its_run(place: Place, name: str, namespace: str) -> None:
    """The file name of a cell has nothing to say."""
    place.write(
        f"import os, sys\ntext = open('cell').read() + sys.argv[1]\n"
        f"name = {name!r}.format(pid=os.getpid(), n=len(text))\nexec(compile(text, name, 'exec'), {namespace})\n",
        "kernel.py",
    )
    place.write(CELL, "cell")
    assert "failed stop" in place.python("kernel.py", "")
    place.write("", "fixed")
    out = place.python("kernel.py", "\n# edited")
    assert "LOAD" not in out
    assert "result 1" in out


def test_two_notebooks_are_two_scripts(place: Place) -> None:
    """Where the kernel says which notebook it is."""
    place.write(
        "exec(compile(open('cell').read(), '/tmp/ipykernel_1/2.py', 'exec'), {'__name__': '__main__'})", "kernel.py"
    )
    place.write(CELL, "cell")
    for name in "ab":
        place.write("{}", f"{name}.ipynb")
        assert "LOAD" in place.python("kernel.py", JPY_SESSION_NAME=str(place.folder / f"{name}.ipynb"))


LATER = {
    "the end": "import atexit\natexit.register(main)",
    "a thread": "import threading\nthreading.Thread(target=lambda: (threading.main_thread().join(), main())).start()",
}


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("start", LATER)
def test_what_a_load_leaves_for_later_starts_no_run(place: Place, start: str, isolate: bool) -> None:
    """What a script registers with `atexit`, or hands to a thread, when it is loaded starts no run once that is over,
    in the command or in the process of an isolated step; the error says so."""
    place.write(PLAIN.format(start=LATER[start], isolate=isolate), "plain.py")
    out = place.perdure("run", "plain.py", status=3)
    assert out.count("PAY") == 1
    assert "starts workflow 'main', and to load it never starts a run" in out
    assert len(place.perdure("ps", "--json").split('"workflow"')) == 2
