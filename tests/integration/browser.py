"""Chromium for tests of the page: what its console says is kept; where there is none, tests are skipped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import pytest
from ui_server import TOKEN

from chromium import find

PATIENCE = 180_000
"""Milliseconds until a test gives up: a net for what never comes, far beyond what a busy machine needs."""

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def chromium() -> str:
    """The browser that is installed; the test is skipped, with the reason, where none is."""
    pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    found = find()
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return found


def axe() -> str:
    """The source of axe-core, which the package axe-playwright-python of the registry brings along."""
    package = pytest.importorskip("axe_playwright_python", reason="the package axe-playwright-python is not installed")
    return (resources.files(package) / "axe.min.js").read_text(encoding="utf-8")


class Tab:
    """A tab that is signed in. `said` is what went wrong: errors, console messages, reports of the policy."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.said: list[str] = []
        self._address = address
        self._failed: list[Any] = []
        page.on("console", lambda one: self.said.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: self.said.append(f"error: {one}"))
        page.on("response", lambda one: self._failed.append(one) if one.status >= 500 else None)
        page.on("dialog", lambda one: (self.said.append(f"dialog: {one.message}"), one.dismiss()))

    def open(self, path: str, heading: str) -> Any:
        """Go to an address, until its heading is there; returns the page."""
        self.page.goto(self._address + path)
        self.page.get_by_role("heading", level=1, name=heading).wait_for()
        return self.page

    def shown(self) -> str:
        """What the page shows and has said, and failures of the server, for whoever reads why a test failed."""
        view = _or_why(lambda: self.page.locator("body").aria_snapshot(timeout=10_000))
        failed = [f"{one.status} of {one.url}: {_or_why(one.text)}" for one in self._failed]
        return "\n".join([f"The page was {self.page.url}", *self.said, *failed, view])

    def violations(self, source: str, *rules: str, within: str = "html") -> list[str]:
        """What axe-core finds on the page as it is now or in a part of it, by all rules of WCAG 2.2 AA, or by some.

        It is executed by the debugger: the policy of the page executes no text.
        """
        only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": WCAG}
        more = {} if rules else {"target-size": {"enabled": True}}
        options = json.dumps({"runOnly": only, "rules": more, "resultTypes": ["violations"]})
        debugger = self.page.context.new_cdp_session(self.page)
        there = self.page.evaluate("typeof axe") != "undefined"  # of this address; it takes longer than what it finds
        run = f"axe.run({json.dumps(within)}, {options}).then(found => JSON.stringify(found.violations))"
        said = debugger.send(
            "Runtime.evaluate",
            {
                "expression": f"{'' if there else source}\n{run}",
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        debugger.detach()
        assert "exceptionDetails" not in said, said
        return [
            f"{one['id']}: {node['target']} {node['html'][:120]}"
            for one in json.loads(said["result"]["value"])
            for node in one["nodes"]
        ]


def _or_why(look: Callable[[], str]) -> str:
    try:
        return look()
    except Exception as gone:  # it is about another failure
        return f"(not to be had: {gone})"


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window; where it does not start, tests are skipped, with the reason."""
    path = chromium()
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=PATIENCE)
            started.new_page().close()
        except Error as failed:
            pytest.skip(f"{path} does not start here: {failed.message.splitlines()[0]}")
        try:
            yield started
        finally:
            started.close()


@contextmanager
def tab(started: Any, address: str, scheme: str = "light", width: int = 1440) -> Iterator[Tab]:
    """A tab in a context of its own, with the token as a page that was signed in has it."""
    context = started.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    context.add_init_script(f"sessionStorage.setItem('perdure-token', {TOKEN!r})")
    try:
        opened = Tab(context.new_page(), address)
        try:
            yield opened
        except Exception as failed:
            failed.add_note(opened.shown())
            raise
    finally:
        context.close()
