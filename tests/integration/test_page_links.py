"""Links to a run on the page: in alerts, in `why`, at the end of a failed `perdure run`; none if no address is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shop import Shop

from conftest import Scripts
from sinks import Sink, serving

BASE = "https://ops.example.org"


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


@pytest.mark.parametrize("address", ["", f"{BASE}/"])
def test_who_is_told_of_a_run_finds_it_on_the_page(
    scripts: Scripts, hook: Sink, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The alert of a failure, the command that ran it and `why` end with the same address, which holds no token."""
    monkeypatch.setenv("PERDURE_UI_URL", address)
    shop = Shop(scripts, hook)
    shop.touch("fail")
    done = shop.perdure("run", f"{shop.path}:nightly")
    assert done.returncode == 1, done.stderr
    shop.settle()
    (alert,) = hook.alerts
    wanted = f"on the page: {BASE}/runs/{alert['run']}"
    found = [text.splitlines() for text in (alert["text"], done.stderr, shop.perdure("why", alert["run"]).stdout)]
    assert [wanted in [line.strip() for line in lines] for lines in found] == [bool(address)] * 3
    assert ("on the page" in f"{found}") is bool(address)
