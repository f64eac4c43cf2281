"""The page's files as browsers get them: its modules as one script, made small and packed.

The modules and stylesheets in `page/` are what people read and change. `python3 dev.py page` makes of them what lies
in `page/made/`: one script is one request where they would be a dozen, and packs better. Where they were changed since,
they are served themselves: browsers take them as they are.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

PAGE: Final = Path(__file__).parent / "page"
MADE: Final = "made"
"""The folder in it with what was made: the script, the stylesheet and the stamp."""

STAMP: Final = "sources"
FIRST: Final = "app.js"
"""The module that imports the others."""


def sources(folder: Path = PAGE) -> Mapping[str, bytes]:
    """The modules and the stylesheets that people change, by name."""
    files = sorted((*folder.glob("*.js"), *folder.glob("*.css")))
    return {file.name: file.read_bytes() for file in files}


def stamp(files: Mapping[str, bytes]) -> str:
    """What tells these sources from others."""
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def assets(folder: Path = PAGE) -> Mapping[str, bytes]:
    """What stands below `/assets/`: name to content. The shell names `page.js`, `style.css` and `icon.svg`."""
    files, made = sources(folder), folder / MADE
    icon = (folder / "icon.svg").read_bytes()
    if (made / STAMP).is_file() and (made / STAMP).read_text(encoding="ascii").strip() == stamp(files):
        files = {name: (made / name).read_bytes() for name in ("page.js", "style.css")}
    else:
        files = {**files, "page.js": f'import "./{FIRST}";\n'.encode()}
    return MappingProxyType({**files, "icon.svg": icon})


@cache
def packed(content: bytes) -> bytes:
    """The same with gzip, in blocks of half or an eighth of the usual length, whatever becomes smaller."""
    packers = (zlib.compressobj(9, zlib.DEFLATED, 31, memory) for memory in (7, 5))
    return min((packer.compress(content) + packer.flush() for packer in packers), key=len)
