"""The page's files as browsers get them: its modules as one script, without comments and spaces, packed.

The modules in `page/` are what people read, and execute as they are. One script is one request where they would be a
dozen, and packs better. What is done to them needs no parser, so they keep to a few forms: an import or an export is a
line of its own, and `export` stands before what is declared.
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent / "page"
FIRST: Final = "app"
"""The module that imports the others."""

_IMPORT: Final = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ((?:async )?function|const|class) (\w+)", re.MULTILINE)
_MARK: Final = re.compile("[\"'`/]")
_TEXT: Final = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')
_REGEX: Final = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*")
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_BEFORE_REGEX: Final = "(,=:[!&|?{};>\n"
"""What a `/` follows that begins a regular expression; else it divides."""


@cache
def script(folder: Path = PAGE) -> bytes:
    """All modules of the page as one, in the order in which they need each other."""
    found: dict[str, str] = {}

    def add(name: str) -> None:
        if name in found:
            return
        text = (folder / f"{name}.js").read_text(encoding="utf-8")
        for _, needed in _IMPORT.findall(text):
            add(needed)
        found[name] = _module(name, text)

    add(FIRST)
    return "\n".join(found.values()).encode()


def _module(name: str, text: str) -> str:
    """A module as a part of the script: what it exports is an object that is named for it."""
    exported = [each[1] for each in _EXPORT.findall(text)]
    text = _IMPORT.sub(lambda one: f"const {{ {one[1]} }} = ${one[2]};", text)
    text = squeezed(_EXPORT.sub(r"\1 \2", text)).strip()
    return text if name == FIRST else f"const ${name}=(()=>{{{text}\nreturn{{{','.join(exported)}}}}})();"


def squeezed(code: str) -> str:
    """JavaScript without comments, and without the spaces that only people need."""
    parts, at, begun = [], 0, 0
    while one := _MARK.search(code, at):
        at, end = one.start(), _opaque(code, one.start())
        if end == at:
            at += 1
            continue
        parts += [_tight(code[begun:at]), "" if _COMMENT.match(code, at) else code[at:end]]
        at = begun = end
    return re.sub(r"\n+", "\n", "".join((*parts, _tight(code[begun:]))))


def _opaque(code: str, at: int) -> int:
    """Where the text, template, regular expression or comment ends that begins there; there, if none does."""
    match code[at]:
        case '"' | "'":
            found = _TEXT.match(code, at)
        case "/":
            before = code[:at].rstrip(" ")
            begins = before[-1:] in _BEFORE_REGEX or before.endswith("return")
            found = _COMMENT.match(code, at) or (_REGEX.match(code, at) if begins else None)
        case "`":
            return _template(code, at + 1)
        case _:
            found = None
    return found.end() if found else at


def _template(code: str, at: int) -> int:
    """Where the template ends whose first character stands there; what it inserts may hold templates too."""
    while code[at] != "`":
        if code.startswith("${", at):
            depth, at = 1, at + 2
            while depth:
                end = _opaque(code, at)
                depth += {"{": 1, "}": -1}.get(code[at], 0) if end == at else 0
                at = max(end, at + 1)
        else:
            at += 2 if code[at] == "\\" else 1
    return at + 1


def _tight(code: str) -> str:
    code = re.sub(r" ?([{}()\[\],;:?=<>&|*%!]) ?", r"\1", re.sub(r"[ \t]+", " ", code))
    code = re.sub(r"\n+", "\n", re.sub(r" ?\n ?", "\n", code))
    code = re.sub(r"([{,;(\[&|?:=])\n", r"\1", code)
    return re.sub(r"\n([})\].?:&|])", r"\1", code).replace(";}", "}")


@cache
def style(folder: Path = PAGE) -> bytes:
    """The stylesheet, in the same way."""
    text = re.sub(r"/\*.*?\*/", "", (folder / "style.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"\s*([{};,>])\s*", r"\1", re.sub(r"\s+", " ", text)).replace(": ", ":")
    return text.replace(";}", "}").strip().encode()


@cache
def packed(content: bytes) -> bytes:
    """The same with gzip."""
    return gzip.compress(content, mtime=0)
