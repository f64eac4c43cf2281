"""The texts of all errors, in one file: what `error_texts.txt` lists is what users read.

To accept a change: `python tests/test_error_texts.py > tests/error_texts.txt`.
Texts are read from the source, so that no error is missed because no test raises it. What is filled in is in braces.
A text that comes from a variable, a parameter or a function is followed to where it is written.
"""

from __future__ import annotations

import re
from pathlib import Path

from error_catalogue import catalogue

SNAPSHOT = Path(__file__).with_name("error_texts.txt")
UNWANTED = re.compile(
    r"\b(somebody|nobody|whoever|anybody|heals?|lends?|mend(ed)?|sense|told|tells?|strand(ed)?|mourn|flow|gate"
    r"|companion|autopsy|put away|gone on with|given up|broken off|looked (after|at)|so far|anew|as it is"
    r"|as they are|leave it away|leave it to|leave it out|of yours|sight|vanished|forgotten|wants?"
    r"|all the time|not known|cannot be had|does not know|will be|was not able|carry out|come to that|by hand"
    r"|alas)\b",
    re.IGNORECASE,
)
"""Words that are not the field's, and other tenses than the present."""

DO = re.compile(
    r"    (did you [^?]*\? (Otherwise |Then )?)?`?(add|annotate|call|change|check|choose|convert"
    r"|correct|declare|decorate|defer|define|do|drop|edit|end|find out|free|give|given:|import|keep|leave"
    r"|let|list|make|mkdir|move|name|one of these|pass|perdure|pip install|put|raise|read|recorded:"
    r"|register|remove|rename|reset|restart|restore|return|run|see|send|set|split|start|type|upgrade"
    r"|use|wait|work|write)\b"
)
"""A hint begins with a verb that says what to do, or with the command itself."""

PASSED_ON = {
    "{error.hint}",
    "{failure.hint}",
    "{refused.hint}",
    "{refused.hint.replace('return ', 'pass ')}",
    "{error.hint.replace('a number of seconds, a timedelta, or', 'seconds, or')}",
    '{refused.hint}, or as "full"',
}
"""Hints of an error that is raised again; they are listed where they are written."""


def test_the_texts_of_errors_are_as_agreed() -> None:
    """Whoever changes a text changes the snapshot too, where a reviewer sees it."""
    assert "\n".join(catalogue()) + "\n" == SNAPSHOT.read_text(encoding="utf-8")


def test_errors_speak_with_one_voice() -> None:
    """Present tense, the field's terms, no full stop at the end."""
    lines = catalogue()
    assert [line for line in lines if UNWANTED.search(re.sub(r"\{[^}]*\}", "", line))] == []
    assert [line for line in lines if line.rstrip().endswith((".", "!", "?"))] == []


def test_every_error_says_what_to_do() -> None:
    """An error without a way out is half an error; a way out begins with what to do, so that it is found at once."""
    pairs = list(zip((lines := catalogue())[::2], lines[1::2], strict=True))
    assert [what for what, hint in pairs if not hint.strip()] == []
    assert [(what, hint) for what, hint in pairs if not DO.match(hint) and hint.strip() not in PASSED_ON] == []


if __name__ == "__main__":
    print("\n".join(catalogue()))
