"""Promise P13: a recorded call is only made again with the function, instance and script that it was made with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SOURCE, Scripts, _clean
from perdure import step, workflow
from perdure.errors import Drift, DuplicateStep, NotStorable

JOB = """
import os, perdure
from perdure import step, workflow
class Declined(Exception): pass
@step(retry=None)
def charge(): print("CHARGE", flush=True); raise Declined("card")
@step(retry=None)
def clean(x): print("CLEAN", x, flush=True)
@step(retry=None)
def crash_once():
    if not os.path.exists("crashed"):
        open("crashed", "w").close(); os.kill(os.getpid(), 9)
@workflow
def main():
    perdure.defer(clean, 1)
    try: charge()
    except Declined: print("handled", flush=True)
    crash_once()
if __name__ == "__main__": main()
"""

WAYS = {
    "python -m": ["-m", "app.job"],
    "python": ["app/job.py"],
    "import": ["-c", "from app.job import main; main()"],
    "run": ["-m", "perdure", "run", "app/job.py"],
    "resume": ["-m", "perdure", "resume", "last", "--state", "app/.perdure/state.db"],
}

TASKS = """
import os, perdure
from perdure import step
@step(retry=None)
def back(order): print("SHOP back", order, flush=True)
@step(retry=None, undo=back)
def handle(order):
    if order == 2 and not os.path.exists("fixed"): raise ValueError("declined")
    print("SHOP", order, flush=True)
    return order
"""

CRASH = """
@step(retry=None)
def crash_once():
    if not os.path.exists("crashed"):
        open("crashed", "w").close(); os.kill(os.getpid(), 9)
"""


class Place(Scripts):
    """A folder with scripts, and what Python says when it executes them."""

    def python(self, *args: str, status: int | None = None, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, *args],
            cwd=self.folder,
            env={**_clean(), "PYTHONPATH": str(SOURCE), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert status is None or done.returncode == status, done.stdout
        return done.stdout

    def perdure(self, *args: str, status: int | None = None, **env: str) -> str:
        return self.python("-m", "perdure", *args, status=status, **env)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder of its own."""
    return Place(tmp_path)


@pytest.mark.parametrize("package", [True, False], ids=["package", "no __init__"])
@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", [way for way in WAYS if way != "resume"])
def test_a_handled_failure_stays_handled_however_the_run_goes_on(
    place: Place, first: str, second: str, package: bool
) -> None:
    """The script's module has one name, whether it is executed, imported or loaded; what was deferred is found."""
    place.write(JOB, "app/job.py")
    if package:
        place.write("", "app/__init__.py")
    place.python(*WAYS[first], status=-9)
    out = place.python(*WAYS[second], status=0)
    assert (out.count("CHARGE"), out.count("handled"), out.count("CLEAN")) == (0, 1, 1)


@pytest.mark.parametrize("package", [True, False], ids=["package", "no __init__"])
def test_two_modules_of_one_file_name_are_two(place: Place, package: bool) -> None:
    """A redrive, and an undoing in another process, call the step of the module that was called before."""
    for name in ("shop", "refunds"):
        place.write(TASKS.replace("SHOP", name.upper()), f"{name}/tasks.py")
        if package:
            place.write("", f"{name}/__init__.py")
    place.write(
        f"""
import os
from perdure import step, workflow
import shop.tasks, refunds.tasks
{CRASH}
@workflow
def nightly():
    shop.tasks.handle.map([1, 2])
    crash_once()
    raise SystemError("the end")
if __name__ == "__main__":
    nightly()
""",
        "main.py",
    )
    place.python("main.py", status=-9)
    place.write("", "fixed")
    out = place.perdure("dlq", "redrive", "1", status=0)
    assert "SHOP 2" in out
    assert "REFUNDS" not in out
    out = place.perdure("cancel", "last", status=0)
    assert "SHOP back 1" in out
    assert "REFUNDS" not in out


def test_a_step_that_was_moved_is_called_when_its_file_is_named(place: Place) -> None:
    """Not found in its module, it is refused with where it is; the file says that it is meant."""
    for name in ("shop", "refunds"):
        place.write(TASKS.replace("SHOP", name.upper()), f"{name}.py")
    main = "from perdure import workflow\nimport refunds, shop\n@workflow\ndef nightly(): shop.handle.map([2])\n"
    place.write(f"{main}if __name__ == '__main__': nightly()\n", "main.py")
    place.python("main.py", status=0)
    place.write("", "fixed")
    (place.folder / "shop.py").rename(place.folder / "store.py")
    place.write(main.replace("shop", "store"), "main.py")
    out = place.perdure("dlq", "redrive", "1")
    assert "module shop, which has none now" in out
    assert "refunds.py" in out
    assert "REFUNDS 2" not in out
    assert "SHOP 2" in place.perdure("dlq", "redrive", "1", "--script", "store.py", status=0)


def test_a_script_that_was_renamed_keeps_its_steps(place: Place) -> None:
    """What the run noted of its own script is found in the file that the user names."""
    place.write(JOB, "job.py")
    place.python("job.py", status=-9)
    (place.folder / "job.py").rename(place.folder / "nightly.py")
    out = place.python("nightly.py", "--version", status=0)
    (line,) = [line for line in out.splitlines() if "unfinished" in line]
    assert line.endswith("nightly.py")
    command = line.rpartition("perdure ")[2].split()
    out = place.perdure(*command, status=0)
    assert (out.count("CHARGE"), out.count("CLEAN 1")) == (0, 1)
    assert "unfinished" not in out


def test_other_arguments_beside_an_unfinished_run(place: Place) -> None:
    """One line, once for the workflow; none where it is gone on with, or with PERDURE_QUIET."""
    place.write(
        """
import sys
from perdure import step, workflow
@step(retry=None)
def work(day):
    if day == "bad": raise ValueError(day)
@workflow
def nightly(day): work(day)
for day in sys.argv[1:]:
    try: nightly(day)
    except ValueError: pass
""",
        "job.py",
    )
    assert "unfinished" not in place.python("job.py", "good", "bad")
    assert "unfinished" not in place.python("job.py", "bad")
    assert place.python("job.py", "fine", "finer").count("unfinished") == 1
    assert "unfinished" not in place.python("job.py", "fine", PERDURE_QUIET="1")


def test_two_scripts_of_one_name_share_a_state_file(place: Place) -> None:
    """Neither goes on with the other's run, nor waits for its lock; a redrive calls each one's own step."""
    script = """
import os, sys
from helpers import told
from perdure import step, workflow
@step(retry=None)
def act(n):
    if not os.path.exists("fixed"): raise ValueError(n)
    print(told(), n, flush=True)
@workflow(lock=True)
def main():
    act.map([1])
    if len(sys.argv) > 1: os.system(sys.argv[1])
if __name__ == "__main__": main()
"""
    for name in "ab":
        place.write(script, f"{name}/sync.py")
        place.write(f"def told(): return 'I AM {name}'", f"{name}/helpers.py")
    env = {"PERDURE_STATE": str(place.folder / "state.db")}
    inner = f"{sys.executable} b/sync.py"
    assert "skipped" not in place.python("a/sync.py", inner, status=0, **env)
    place.write("", "fixed")
    out = place.perdure("ps", **env)
    assert out.count(" done ") + out.count("dead") >= 2
    assert "I AM a 1" in place.perdure("dlq", "redrive", "1", **env)
    assert "I AM b 1" in place.perdure("dlq", "redrive", "2", **env)


def test_a_module_of_another_script_is_not_called(place: Place) -> None:
    """Two scripts with a module of one name, in one command: the second one's step is refused."""
    for name in "ab":
        place.write(TASKS.replace("SHOP", name), f"{name}/tasks.py")
        place.write(
            "import tasks\nfrom perdure import workflow\n@workflow\ndef main(): tasks.handle.map([2])\n"
            "if __name__ == '__main__': main()\n",
            f"{name}/{name}.py",
        )
    env = {"PERDURE_STATE": str(place.folder / "state.db")}
    for name in "ab":
        place.python(f"{name}/{name}.py", status=0, **env)
    place.write("", "fixed")
    out = place.perdure("dlq", "redrive", "--all", **env)
    assert out.count("\na 2") + out.startswith("a 2") == 1
    assert "one command for the runs of each script" in out
    assert "b 2" in place.perdure("dlq", "redrive", "2", status=0, **env)


def test_a_link_to_a_script_is_that_script(place: Place) -> None:
    """Its state lies beside the file, and its run goes on."""
    place.write(JOB, "job.py")
    place.python("job.py", status=-9)
    (place.folder / "bin").mkdir()
    (place.folder / "bin" / "nightly").symlink_to(place.folder / "job.py")
    out = place.python("bin/nightly", status=0)
    assert (out.count("CHARGE"), out.count("CLEAN 1")) == (0, 1)
    assert not (place.folder / "bin" / ".perdure").exists()


# -- loading never starts a run ---------------------------------------------------------------------------------------

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


# -- cells ------------------------------------------------------------------------------------------------------------

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


# -- closures and instances -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("machine")
def test_closures_over_values_are_told_apart() -> None:
    """What a step has closed over is part of its inputs: in another order, each gets its own result, or it is drift."""

    def scaler(factor: int):  # type: ignore[no-untyped-def]
        @step(retry=None)
        def scale(x: int) -> int:
            return x * factor

        return scale

    crash = [True]

    def main(factors: list[int]) -> list[int]:
        found = [scaler(factor)(10) for factor in factors]
        if crash:
            raise Trouble
        return found

    first = workflow(main, name="main")
    factors = [2, 3]
    named = workflow(lambda: main(factors), name="named")
    with pytest.raises(Trouble):
        named()
    factors[:] = [3, 2]
    crash.clear()
    assert named() == [30, 20]
    crash.append(True)
    factors[:] = [7]
    with pytest.raises(Trouble):
        named()
    factors[:] = [8]
    crash.clear()
    with pytest.raises(Drift, match="factor=7"):
        named()
    assert first([4]) == [40]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("how", ["cell", "default", "bound", "partial"])
def test_closures_that_no_record_distinguishes_are_refused(how: str) -> None:
    """Two of one code that differ in what cannot be an input, in one run; each alone is fine."""
    ran: list[object] = []

    class Client:
        def get(self) -> None:
            ran.append(self)

    def made(client: Client):  # type: ignore[no-untyped-def]
        def get() -> None:
            ran.append(client)

        def kept(client: Client = client) -> None:
            ran.append(client)

        import functools

        fn = {"cell": get, "default": kept, "bound": client.get, "partial": functools.partial(Client.get, client)}[how]
        return step(fn, name="get", retry=None)

    @workflow
    def one() -> None:
        client = Client()
        for _ in range(2):
            made(client)()

    @workflow
    def two() -> None:
        for _ in range(2):
            made(Client())()

    if how != "partial":
        one()
    ran.clear()
    with pytest.raises(DuplicateStep):
        two()
    assert len(ran) == 1


@pytest.mark.usefixtures("machine")
def test_a_counter_or_a_flag_is_no_input() -> None:
    """A variable that is assigned in several places is a state: an unedited script goes on."""
    count, broken = 0, True

    @workflow
    def main() -> int:
        seen = 0

        @step(retry=None)
        def work(n: int) -> int:
            nonlocal count, seen
            count += 1
            seen += 1
            if broken and n == 2:
                raise Trouble
            return n

        return sum(work(n) for n in range(4))

    with pytest.raises(Trouble):
        main()
    broken = False
    assert main() == 6
    assert count == 5


class Trouble(Exception):
    """Ends a run."""


class Account:
    """An instance that cannot be stored."""

    def __init__(self, name: str) -> None:
        self.name, self.lock = name, object()

    @step(retry=None)
    def balance(self) -> str:
        return self.name

    @step(retry=None, key=lambda self: self.name)
    def keyed(self) -> str:
        return self.name

    @step(retry=None)
    def pay(self, n: int) -> str:
        return f"{self.name}{n}"


class Known(Account):
    """One that says what it goes by."""

    def __perdure_key__(self) -> str:
        return self.name


@pytest.mark.usefixtures("machine")
def test_no_account_gets_the_balance_of_another() -> None:
    """An instance that cannot be stored is refused, or says what it goes by: then each call has its own result."""

    @workflow
    def refused() -> str:
        return Account("a").balance()

    with pytest.raises(NotStorable, match="__perdure_key__"):
        refused()

    @workflow
    def mapped() -> object:
        return Account("a").pay.map([1], key=lambda n: n).results

    with pytest.raises(NotStorable, match="__perdure_key__"):
        mapped()
    names, crash = ["b", "c"], [True]

    @workflow
    def report() -> list[object]:
        found: list[object] = []
        for name in names:
            found += [Known(name).balance(), Account(name).keyed(), *Known(name).pay.map([1], key=lambda n: n).results]
        if crash:
            raise Trouble
        return found

    with pytest.raises(Trouble):
        report()
    names.reverse()
    crash.clear()
    assert report() == ["c", "c", "c1", "b", "b", "b1"]


def test_the_record_of_a_function_is_written_with_its_first_result(place: Place) -> None:
    """Killed right behind its first step, a run says whose function that was."""
    place.write(JOB.replace("    perdure.defer(clean, 1)\n", ""), "job.py")
    place.python("job.py", status=-9)
    import apsw

    connection = apsw.Connection(str(place.folder / ".perdure" / "state.db"))
    assert list(connection.execute("SELECT name, module, qualname, file FROM function ORDER BY name")) == [
        ("charge", "__main__", "charge", "job.py"),
        ("crash_once", "__main__", "crash_once", "job.py"),
    ]
    connection.close()
    assert os.path.exists(place.folder / "crashed")
