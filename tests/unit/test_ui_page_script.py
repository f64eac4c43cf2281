"""What browsers get of the page: made of its modules, and small; the modules themselves, where they were changed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from perdure.web import packing


def test_what_is_served_was_made_of_the_modules() -> None:
    """`python3 dev.py page` makes it anew; who commits changed modules alone serves them unpacked."""
    assert set(packing.assets()) == {"page.js", "style.css", "icon.svg"}
    assert (packing.PAGE / packing.MADE / packing.STAMP).read_text().strip() == packing.stamp(packing.sources())
    assert not re.search(rb"\bimport\b *[{\"]", packing.assets()["page.js"])


def test_modules_that_were_changed_are_served_themselves(tmp_path: Path) -> None:
    """Nothing has to be made to see a change: the script imports the first module, and all are there."""
    folder = tmp_path / "page"
    shutil.copytree(packing.PAGE, folder)
    with (folder / "words.js").open("a", encoding="utf-8") as file:
        file.write("export const changed = 1;\n")
    found = packing.assets(folder)
    assert packing.FIRST.encode() in found["page.js"]
    assert b"export const changed" in found["words.js"]
    needed = {name.decode() for content in found.values() for name in re.findall(rb'"\./(\w+\.js)"', content)}
    assert {packing.FIRST, "dom.js", "words.js"} <= needed <= set(found)


def test_the_files_of_the_page_are_small() -> None:
    """All of them together, as a browser gets them: through ssh or a proxy that counts."""
    files = [*packing.assets().values(), (packing.PAGE / "shell.html").read_bytes()]
    assert sum(len(packing.packed(one)) for one in files) <= 40_000
