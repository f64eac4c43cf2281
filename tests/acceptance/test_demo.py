"""The demo proves what it says, and its proof can fail."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from perdure.demo.api import Api, Ending, Order, refusal
from perdure.demo.ledger import Effect, Ledger, Line, Mark, Request, charged, read
from perdure.demo.mishaps import draw
from perdure.demo.proof import KILLED, Account, Claim, prove
from perdure.demo.report import Report
from perdure.demo.run import CONCURRENCY, FEWEST, demonstrate, main
from perdure.demo.trial import Trial
from perdure.errors import OptionError

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDERS = (EXAMPLES / "orders.jsonl").read_bytes().splitlines()
SEED = 7


def decoded(lines: Sequence[bytes]) -> list[Order]:
    return [msgspec.json.decode(line, type=Order) for line in lines]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Line], Account]:
    """The ledger and account of a client that does everything right, without a network.

    It stops after 100 orders with 8 more in flight, whose first request was sent and whose answer it never saw.
    """
    orders = decoded(ORDERS)
    path = tmp_path_factory.mktemp("honest") / "ledger.jsonl"
    with Ledger(path) as ledger:
        api = Api(ledger, draw([order.id for order in orders if not refusal(order)], SEED), SEED)

        def finish(body: bytes, order: Order) -> None:
            for _ in range(4):
                answer = api.charge(body, f"key of {order.id}")
                if answer.body.get("status") == "ok" and answer.ending is Ending.WHOLE:
                    return

        for body, order in zip(ORDERS[:100], orders, strict=False):
            finish(body, order)
        for body, order in zip(ORDERS[100:108], orders[100:], strict=False):
            api.charge(body, f"key of {order.id}")
        api.mark(KILLED)
        for body, order in zip(ORDERS[100:], orders[100:], strict=True):
            finish(body, order)
    good = [order for order in orders if not refusal(order)]
    totals: dict[str, Decimal] = {}
    for order in good:
        totals[order.currency] = totals.get(order.currency, Decimal()) + Decimal(order.amount)
    dead = [order.id for order in orders if refusal(order)]
    return read(path), Account(1, [order.id for order in orders[:100]], dead, dead, len(good), totals)


def broken(claims: Sequence[Claim]) -> set[str]:
    return {claim.name for claim in claims if not claim.holds}


def test_an_honest_ledger_is_proof(honest: tuple[list[Line], Account]) -> None:
    """Nothing is held against a client that did everything right."""
    lines, account = honest
    assert [claim for claim in prove(decoded(ORDERS), lines, account, CONCURRENCY) if not claim.holds] == []


def change(line: Line, **changes: object) -> Line:
    return msgspec.structs.replace(line, **changes)


def first(lines: Sequence[Line], wanted: Callable[[Request], bool]) -> int:
    return next(n for n, line in enumerate(lines) if isinstance(line, Request) and wanted(line))


def is_charge(line: Request) -> bool:
    return line.effect is Effect.CHARGED


def answered(line: Request) -> bool:
    return line.outcome == "answered" and line.effect is Effect.CHARGED


def double(lines: list[Line]) -> None:
    lines.insert(0, lines[first(lines, is_charge)])


def missing(lines: list[Line]) -> None:
    order = lines[first(lines, answered)].order  # type: ignore[union-attr]
    lines[:] = [line for line in lines if isinstance(line, Mark) or line.order != order]


def poison_charged(lines: list[Line]) -> None:
    n = first(lines, lambda line: line.outcome.startswith("422"))
    lines[n] = change(lines[n], effect=Effect.CHARGED)


def poison_never_sent(lines: list[Line]) -> None:
    lines[:] = [line for line in lines if isinstance(line, Mark) or not line.outcome.startswith("422")]


def stranger(lines: list[Line]) -> None:
    lines.insert(0, change(lines[first(lines, is_charge)], order="SO-1", key="another"))


def other_key(lines: list[Line]) -> None:
    n = first(lines, is_charge)
    lines.insert(n, change(lines[n], key="another", effect=Effect.NOTHING, outcome="500"))


def no_key(lines: list[Line]) -> None:
    n = first(lines, is_charge)
    lines[n] = change(lines[n], key="")


def shared_key(lines: list[Line]) -> None:
    one, other = lines[0], lines[-1]
    assert isinstance(one, Request)
    lines[-1] = change(other, key=one.key)


def saved_again(lines: list[Line]) -> None:
    n = first(lines, answered)
    lines.append(change(lines[n], effect=Effect.REPLAYED))


def too_many_again(lines: list[Line]) -> None:
    sent = {line.order: line for line in lines if isinstance(line, Request)}
    early = {line.order for line in lines[: lines.index(next(x for x in lines if isinstance(x, Mark)))]}  # type: ignore[union-attr]
    late = [line for order, line in sent.items() if order not in early]
    lines.insert(0, change(late[0], effect=Effect.NOTHING, outcome="500"))


def not_killed(lines: list[Line]) -> None:
    lines[:] = [line for line in lines if isinstance(line, Request)]


def killed_too_late(lines: list[Line]) -> None:
    not_killed(lines)
    lines.append(Mark(KILLED, 99.0))


def killed_too_early(lines: list[Line]) -> None:
    not_killed(lines)
    lines.insert(0, Mark(KILLED, 0.0))


def wrong_amount(lines: list[Line]) -> None:
    n = first(lines, is_charge)
    lines[n] = change(lines[n], amount="0.01")


def never_asked_again(lines: list[Line]) -> None:
    n = first(lines, lambda line: line.outcome.startswith("charged, then"))
    order = lines[n].order  # type: ignore[union-attr]
    lines[:] = [line for m, line in enumerate(lines) if m <= n or isinstance(line, Mark) or line.order != order]


def tame_api(lines: list[Line]) -> None:
    lines[:] = [
        change(line, outcome="answered") if isinstance(line, Request) and is_charge(line) else line for line in lines
    ]


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (double, {"charged-once", "sums-agree"}),
        (missing, {"charged-once", "sums-agree", "one-key-each"}),
        (poison_charged, {"charged-once", "poison-not-charged", "sums-agree"}),
        (poison_never_sent, {"poison-not-charged", "one-key-each"}),
        (stranger, {"charged-once", "sums-agree"}),
        (other_key, {"one-key-each"}),
        (no_key, {"one-key-each"}),
        (shared_key, {"one-key-each"}),
        (saved_again, {"saved-not-again", "only-in-flight-again"}),
        (too_many_again, {"only-in-flight-again"}),
        (not_killed, {"killed-half-way"}),
        (killed_too_late, {"killed-half-way"}),
        (killed_too_early, {"killed-half-way", "saved-not-again"}),
        (wrong_amount, {"sums-agree"}),
        (never_asked_again, {"lost-answers-asked-again"}),
        (tame_api, {"lost-answers-asked-again"}),
    ],
)
def test_a_tampered_ledger_is_no_proof(
    honest: tuple[list[Line], Account], tamper: Callable[[list[Line]], None], expected: set[str]
) -> None:
    """Each falsehood in the ledger breaks the claims that speak of it, and no other."""
    lines, account = list(honest[0]), honest[1]
    tamper(lines)
    assert broken(prove(decoded(ORDERS), lines, account, CONCURRENCY)) == expected


@pytest.mark.parametrize(
    ("falsehood", "expected"),
    [
        (lambda a: replace(a, dead=a.dead[1:]), {"poison-parked"}),
        (lambda a: replace(a, dead=[*a.dead, "SO-48211"]), {"poison-parked"}),
        (lambda a: replace(a, dead=[*a.dead, a.dead[0]]), {"poison-parked"}),
        (lambda a: replace(a, parked=a.parked[1:]), {"poison-parked"}),
        (lambda a: replace(a, parked=[*a.parked, "SO-48211"], dead=[*a.parked, "SO-48211"]), {"poison-parked"}),
        (lambda a: replace(a, runs=2), {"resumed"}),
        (lambda a: replace(a, charged=a.charged - 1), {"sums-agree"}),
        (lambda a: replace(a, totals={**a.totals, "EUR": Decimal(1)}), {"sums-agree"}),
        (lambda a: replace(a, saved=[]), {"saved-not-again"}),
        (lambda a: replace(a, saved=[*a.saved, "SO-48311"]), {"saved-not-again"}),
    ],
)
def test_a_workflow_that_tells_something_else_is_no_proof(
    honest: tuple[list[Line], Account], falsehood: Callable[[Account], Account], expected: set[str]
) -> None:
    """What the workflow says of itself must be what the ledger says."""
    lines, account = honest
    assert broken(prove(decoded(ORDERS), lines, falsehood(account), CONCURRENCY)) == expected


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


def test_the_example_is_killed_and_resumes(tmp_path: Path) -> None:
    """The real thing, small: real API, real kill -9, real state: every claim holds and is printed."""
    claims, printed = demo(tmp_path / "demo", EXAMPLES / "orders.py")
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
    """A folder to keep must be empty: nobody's files are overwritten."""
    (tmp_path / "mine").touch()
    with pytest.raises(OptionError, match="not empty"):
        main(keep=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
