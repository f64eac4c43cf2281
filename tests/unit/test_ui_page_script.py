"""The page's script is made of its modules without a parser: what is text in them stays as it is."""

from __future__ import annotations

import re

import pytest

from perdure.web import packing

SAMPLES = (
    ("const a = 1; // why\n/** what\n */\nlet b = [ a , 2 ];", "const a=1;\nlet b=[a,2];"),
    ("const a = \"x  // y\" + '/* z */';", "const a=\"x  // y\" + '/* z */';"),
    ('const a = `${ n } in ${x ? ` of  ${ y }` : ""} s`;', 'const a=`${ n } in ${x ? ` of  ${ y }` : ""} s`;'),
    ("const a = `${ {b: '}'} } // no comment`;", "const a=`${ {b: '}'} } // no comment`;"),
    ("f(/[/ ]+  x/g, a / b, c / d);", "f(/[/ ]+  x/g,a / b,c / d);"),
    ("return /^a  b$/.test( x )", "return /^a  b$/.test(x)"),
    ("a = b\n  + c\nd++\n--e", "a=b\n+ c\nd++\n--e"),
)


@pytest.mark.parametrize(("given", "made"), SAMPLES)
def test_only_what_people_need_is_left_out(given: str, made: str) -> None:
    """Comments and spaces of the code; not those of texts, templates within templates and regular expressions."""
    assert packing.squeezed(given).strip() == made


def test_the_script_has_every_module_once_and_no_import() -> None:
    """One that is imported stands before those that import it; a form that is not understood would stay an import."""
    script = packing.script().decode()
    names = {path.stem for path in packing.PAGE.glob("*.js")} - {packing.FIRST}
    made = re.findall(r"^const \$(\w+)=", script, re.MULTILINE)
    assert (len(made), {*made}) == (len(names), names)
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    assert all(
        script.index(f"const ${name}=") < script.index(f"}}=${name};") for name in names if f"}}=${name};" in script
    )


def test_the_files_of_the_page_are_small() -> None:
    """All of them together, as a browser gets them: through ssh or a proxy that counts."""
    files = [
        packing.script(),
        packing.style(),
        *((packing.PAGE / one).read_bytes() for one in ("shell.html", "icon.svg")),
    ]
    assert sum(len(packing.packed(one)) for one in files) <= 44_000
