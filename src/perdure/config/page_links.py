"""Links to a run on the page (`perdure ui`), where its address is set. A link holds no token."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

from perdure.config.settings import ui_url
from perdure.errors import OptionError

PURPOSE = "on the page"


def page_link(run: str, script: str = "") -> str:
    """Where the page shows a run: `ui_url`, and the run's id; empty if no address is set, or it is none.

    Args:
        run: its id.
        script: the path of its script.
    """
    with suppress(OptionError):  # said at the start of each run
        if base := ui_url(script):
            return f"{base}/runs/{quote(run, safe='')}"
    return ""


def page_way(run: str, script: str = "") -> tuple[tuple[str, str], ...]:
    """The same as the last of the commands of a text, with what it is for."""
    link = page_link(run, script)
    return ((PURPOSE, link),) if link else ()
