"""The demo runs as it says, and controls without perdure or without keys fail its proof."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from demo_orders import EXAMPLES, ORDERS, SEED, broken, decoded
from rich.console import Console

from perdure.demo.ledger import charged
from perdure.demo.proof import KILLED, Account, Claim, prove
from perdure.demo.report import Report
from perdure.demo.run import CONCURRENCY, FEWEST, demonstrate, main
from perdure.demo.trial import Trial
from perdure.errors import OptionError

NAIVE = '''
"""What most scripts do: retry, and start again from the beginning."""
import json, os, time, urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

def charge(line):
    headers = {"Content-Type": "application/json"}
    for attempt in range(5):
        try:
            request = urllib.request.Request(os.environ["ORDERS_API"] + "/charges", line.encode(), headers)
            with urllib.request.urlopen(request, timeout=1) as response:
                return json.load(response)
        except Exception:
            time.sleep(0.05)

with ThreadPoolExecutor(8) as pool:
    list(pool.map(charge, Path("orders.jsonl").read_text().splitlines()))
'''


def test_control_a_script_without_perdure_charges_twice(tmp_path: Path) -> None:
    """Positive control: the same orders, API and kill, a script with retries but nothing durable. The proof fails."""
    (tmp_path / "naive.py").write_text(NAIVE)
    (tmp_path / "trial").mkdir()
    with Trial(tmp_path / "trial", tmp_path / "naive.py", ORDERS[:30], SEED) as trial:
        first_run = trial.run(lambda _: None, kill_at=13)
        trial.mark(KILLED)
        second_run = trial.run(lambda _: None)
        lines = trial.lines()
    assert first_run.killed
    assert not second_run.killed
    times = charged(lines)
    assert len(times) > len(set(times))
    assert {"charged-once", "one-key-each", "only-in-flight-again"} <= broken(
        prove(decoded(ORDERS[:30]), lines, Account(0, [], [], [], 0, {}), CONCURRENCY)
    )


def demo(folder: Path, script: Path) -> tuple[list[Claim], str]:
    folder.mkdir()
    printed = io.StringIO()
    console = Console(file=printed, width=100)
    return demonstrate(folder, script, ORDERS[:FEWEST], SEED, Report(console)), printed.getvalue()


def test_the_example_is_killed_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing, small: real API, real kill -9, real state: every claim holds and is printed.

    Also in a folder that is named from where the demo is started.
    """
    monkeypatch.chdir(tmp_path)
    claims, printed = demo(Path("demo"), EXAMPLES / "orders.py")
    assert [(claim.name, claim.problems) for claim in claims if not claim.holds] == []
    assert f"{FEWEST} orders" in printed
    assert "kill -9" in printed
    assert all(claim.text in printed for claim in claims)
    assert "\x1b" not in printed


def test_control_a_workflow_without_idempotency_keys_charges_twice(tmp_path: Path) -> None:
    """Positive control: the same workflow, without the one line that sends the key, fails the same proof."""
    source = (EXAMPLES / "orders.py").read_text()
    without = source.replace(', "Idempotency-Key": perdure.idempotency_key()', "")
    assert without != source
    (tmp_path / "orders.py").write_text(without)
    claims, printed = demo(tmp_path / "demo", tmp_path / "orders.py")
    assert {"charged-once", "one-key-each", "lost-answers-asked-again"} <= broken(claims)
    assert "was charged 2 times" in printed


def test_the_figures_are_the_examples_own() -> None:
    """What the demo says of the example is what the example says of itself."""
    assert f"concurrency={CONCURRENCY}" in (EXAMPLES / "orders.py").read_text()


@pytest.mark.parametrize("orders", [0, FEWEST - 1, len(ORDERS) + 1])
def test_an_impossible_number_of_orders(orders: int) -> None:
    """A number that the demo cannot do is refused before anything is started."""
    with pytest.raises(OptionError, match=str(orders)):
        main(orders=orders)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """A folder to keep must be empty: no file is overwritten."""
    (tmp_path / "mine").touch()
    with pytest.raises(OptionError, match="not empty"):
        main(keep=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
