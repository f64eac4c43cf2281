"""The texts of all errors, in one file: what `error_texts.txt` lists is what users read.

To accept a change: `python tests/test_error_texts.py > tests/error_texts.txt`.
Texts are read from the source, so that no error is missed because no test raises it. What is filled in stands in braces.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from perdure import errors

PACKAGE = Path(errors.__file__).parent
SNAPSHOT = Path(__file__).with_name("error_texts.txt")
KINDS = {
    name: kind.code
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.PerdureError)
}
UNWANTED = re.compile(
    r"\b(somebody|nobody|whoever|anybody|heal|lend|mend|sense|told|tells?|strand|flow|gate|companion|autopsy|will be|was not able)\b"
)
"""Words that are not the field's, and other tenses than the present."""


def template(node: ast.expr | None, known: dict[str, ast.expr]) -> str:
    """A text with its gaps, as the program would fill it."""
    match node:
        case None:
            return ""
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part, {}) for part in parts)
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value) + "}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left, known) + template(right, known)
        case ast.IfExp(body=body, orelse=other):
            return f"{template(body, known)} | {template(other, known)}"
        case ast.Name(id=name) if name in known:
            return template(known[name], {key: value for key, value in known.items() if key != name})
        case _:
            return "{" + ast.unparse(node) + "}"


def assigned(tree: ast.AST) -> dict[str, ast.expr]:
    """The texts that are given a name before they are raised."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            if isinstance(node.value, ast.Constant | ast.JoinedStr | ast.BinOp | ast.IfExp):
                found[node.targets[0].id] = node.value
    return found


def texts(path: Path) -> Iterator[tuple[str, str, str]]:
    """Code, what happened and what to do, of every error that a file makes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    around = {id(inner): function for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if not isinstance(node, ast.Call) or name not in KINDS or not node.args:
            continue
        known = assigned(around[id(node)]) if id(node) in around else {}
        hint = node.args[1] if len(node.args) > 1 else next((k.value for k in node.keywords if k.arg == "hint"), None)
        yield KINDS[name], template(node.args[0], known), template(hint, known)


def catalogue() -> list[str]:
    """Every text, sorted by code: a line for what happened, one for what to do."""
    found = {each for path in sorted(PACKAGE.rglob("*.py")) for each in texts(path)}
    return [line for code, what, hint in sorted(found) for line in (f"[{code}] {what}", f"    {hint}")]


def test_the_texts_of_errors_are_as_agreed() -> None:
    """Whoever changes a text changes the snapshot too, where a reviewer sees it."""
    assert "\n".join(catalogue()) + "\n" == SNAPSHOT.read_text(encoding="utf-8")


def test_errors_speak_with_one_voice() -> None:
    """Present tense, the field's terms, no full stop at the end."""
    lines = catalogue()
    assert [line for line in lines if UNWANTED.search(line.partition("] ")[2] if line[0] == "[" else line)] == []
    assert [line for line in lines if line.rstrip().endswith((".", "!"))] == []


def test_every_error_says_what_to_do() -> None:
    """An error without a way out is half an error."""
    lines = catalogue()
    assert [what for what, hint in zip(lines[::2], lines[1::2], strict=True) if not hint.strip()] == []


if __name__ == "__main__":
    print("\n".join(catalogue()))
