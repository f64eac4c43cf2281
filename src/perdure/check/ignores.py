"""The comments that silence a finding: `# perdure: ignore[code] reason`, on its line or alone on the line above.

`# perdure: repeatable reason`, which `crashtest` obeys, says the same of an effect that may happen once more.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable

from perdure.check.catalogue import RULES
from perdure.check.findings import Finding
from perdure.core.repeatable_comments import accepts_repetition

MARK = "perdure: ignore"
_COMMENT = re.compile(r"#\s*perdure: ignore(?:\[(?P<codes>[^\]]*)\])?(?P<reason>.*)")


def apply(text: str, file: str, findings: Iterable[Finding]) -> list[Finding]:
    """What is left of a file's findings, with one more for each comment that is not obeyed.

    Args:
        text: the source.
        file: as findings name it.
        findings: all of that file.
    """
    findings = [
        each for each in findings if each.code != "unprotected-effect" or not accepts_repetition(text, each.line)
    ]
    if MARK not in text:
        return findings
    obeyed: dict[int, set[str]] = {}
    bad: list[Finding] = []
    for line, col, comment, alone in _comments(text):
        match = _COMMENT.search(comment)
        if match is None:
            continue
        codes = {code.strip() for code in (match["codes"] or "").split(",") if code.strip()}
        unknown = sorted(codes - RULES.keys())
        what = "names no rule" if not codes else f"names no rule of that name: {unknown[0]}" if unknown else ""
        if not what and not match["reason"].strip(" :-—"):
            what = "gives no reason"
        if what:
            rule = RULES["bad-ignore"]
            bad.append(Finding(file, line, col + 1, "bad-ignore", rule.severity, f"the comment {what}", rule.fix, line))
        else:
            obeyed.setdefault(line + 1 if alone else line, set()).update(codes)
    kept = [
        finding
        for finding in findings
        if not any(finding.code in obeyed.get(line, ()) for line in {finding.line, finding.until})
    ]
    return [*kept, *bad]


def _comments(text: str) -> Iterable[tuple[int, int, str, bool]]:
    """Line, column, text of each comment, and whether it stands alone on its line."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and MARK in token.string:
                alone = not token.line[: token.start[1]].strip()
                yield token.start[0], token.start[1], token.string, alone
    except (tokenize.TokenError, SyntaxError):
        return
