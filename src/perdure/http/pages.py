"""The few pages: plain HTML without a script, in which every text of others is escaped."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Final

from perdure.config import secrets
from perdure.core.redaction.printable import printable

if TYPE_CHECKING:
    from perdure.store.approvals import Standing

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;padding:0 1em;color:#222;background:#fff}"
    "h1{font-size:1.4em}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f4f4;padding:1em}"
    "label{display:block;margin:1em 0}input,textarea{width:100%;box-sizing:border-box;font:inherit;padding:.4em}"
    "button{font:inherit;padding:.5em 2em;margin:1em 1em 0 0}p.small{color:#666;font-size:.9em}"
)

STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""Which style the browser may apply: this one, and nothing else."""


def question(standing: Standing) -> str:
    """What is asked, with the two buttons; neither does anything before it is pressed."""
    asked = standing.question
    details = f"<pre>{_text(asked.details)}</pre>" if asked.details.strip() else ""
    return _page(
        asked.title,
        f"{details}"
        '<form method="post" autocomplete="off">'
        '<label>Your name<input name="by" maxlength="200"></label>'
        '<label>Note<textarea name="note" rows="3" maxlength="2000"></textarea></label>'
        '<button name="decision" value="approve">Approve</button>'
        '<button name="decision" value="reject">Reject</button>'
        "</form>"
        f'<p class="small">Run {_text(standing.run.id)} of {_text(standing.run.workflow)} asks this since '
        f"{_moment(asked.asked)}. The link works until {_moment(asked.expires)}.</p>",
    )


def message(title: str, text: str) -> str:
    """A page that says one thing."""
    return _page(title, f"<p>{_text(text)}</p>")


def _page(title: str, body: str) -> str:
    shown = _text(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{shown}</title><style>{_STYLE}</style></head><body><h1>{shown}</h1>{body}</body></html>"
    )


def _text(text: str) -> str:
    return escape(printable(secrets.conceal(text)))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
