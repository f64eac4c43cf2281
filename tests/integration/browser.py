"""Chromium for tests of the page: what its console says is kept; where there is none, tests are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ui_server import TOKEN

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str:
    """The browser that is installed; the test is skipped, with the reason, where none is."""
    pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return found


class Tab:
    """A tab that is signed in. `said` is what went wrong: errors, console messages, reports of the policy."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.said: list[str] = []
        self._address = address
        page.on("console", lambda one: self.said.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: self.said.append(f"error: {one}"))
        page.on("dialog", lambda one: (self.said.append(f"dialog: {one.message}"), one.dismiss()))

    def open(self, path: str, heading: str) -> Any:
        """Go to an address, until its heading is there; returns the page."""
        self.page.goto(self._address + path)
        self.page.get_by_role("heading", level=1, name=heading).wait_for()
        return self.page


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def tab(started: Any, address: str, scheme: str = "light", width: int = 1440) -> Iterator[Tab]:
    """A tab in a context of its own, with the token as a page that was signed in has it."""
    context = started.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(60_000)
    context.add_init_script(f"sessionStorage.setItem('perdure-token', {TOKEN!r})")
    try:
        yield Tab(context.new_page(), address)
    finally:
        context.close()
