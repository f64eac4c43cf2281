"""Takes the picture of the README: the demo's run on the page, in Chromium.

    python docs/picture.py [FILE]

It needs the packages for development, and Chromium (Debian: apt-get install chromium). It runs the demo in a folder of
its own, so the picture shows what a user sees: 200 orders, a misbehaving API, a kill -9.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "ui.png"
TOKEN = "the-token-of-the-picture-0123456789"  # noqa: S105  of a server that lives as long as this script
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LARGEST = 180_000
"""Bytes: who reads the README loads it."""


def main(to: Path) -> None:
    """Run the demo, serve its state file, and take the picture."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        sys.exit("no Chromium is installed (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "shop"
        environment = {**os.environ, "PERDURE_UI_TOKEN": TOKEN}
        command = [sys.executable, "-m", "perdure"]
        subprocess.run([*command, "demo", "--keep", str(place)], check=True, stdout=subprocess.DEVNULL)
        state = next(place.rglob("*.db"))
        ui = subprocess.Popen(
            [*command, "ui", "--no-open", "--read-only", "--port", "0", "--state", str(state)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert ui.stderr is not None
            address = next(line.split()[-1] for line in ui.stderr if line.startswith("listens at"))
            photograph(browser, address, to)
        finally:
            ui.terminate()
            ui.wait()
    if to.stat().st_size > LARGEST:
        sys.exit(f"{to} has {to.stat().st_size:,} bytes, more than {LARGEST:,}")
    sys.stdout.write(f"{to}: {to.stat().st_size:,} bytes\n")


def photograph(browser: str, address: str, to: Path) -> None:
    """Take the picture of the newest run."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.add_init_script(f"sessionStorage.setItem('perdure-token', {TOKEN!r})")
        page.goto(f"{address}runs")
        page.locator("tbody a").first.click()
        page.get_by_role("row").nth(5).wait_for()
        page.get_by_role("heading", name="What is left of it").wait_for()  # asked for last
        page.get_by_role("link", name="Dead letters").first.wait_for()
        page.screenshot(path=to)
        started.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
