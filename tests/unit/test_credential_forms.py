"""Credentials are hidden in the texts of the tools, protocols and languages that they come from."""

from __future__ import annotations

import base64
import html

import pytest
from credential_forms import COMMANDS, HEADERS, STRUCTURES, TOKENS, URLS, forms

from perdure.core.redaction.text import Redactor, redact

KNOWN = ["tulip-garden-walk", "Füße & <Ärger>", "a\"b'c d%e", "x" * 90 + "7"]


@pytest.mark.parametrize(("text", "secrets"), forms())
def test_no_credential_is_left(text: str, secrets: list[str]) -> None:
    """What is secret goes; hidden once more, the text stays as it is."""
    hidden = redact(text)
    assert [each for each in secrets if each in hidden] == []
    assert redact(hidden) == hidden


def test_there_are_many_forms() -> None:
    """A list that shrinks tests less."""
    assert len(forms()) >= 350
    assert min(map(len, (COMMANDS, HEADERS, STRUCTURES, URLS, TOKENS))) > 30


@pytest.mark.parametrize(
    "text",
    [
        "https://user:***@example.com does not answer",
        "docker run -p 8080:80 -u 1000:1000 image",
        "mysql -p shop",
        "the password is required",
        "unexpected token 'export'",
        "invalid token at line 12",
        "tokens=['the', 'cat', 'sat']",
        "SORT_KEY=created_at_2 PRIMARY_KEY=order_1234",
        "name: worker-1\nvalue: 17",
        '{"name": "amount", "value": "12.50 EUR"}',
        '<property name="timeout" value="30s"/>',
        "<step name='charge' n='1'>done</step>",
        "amount\n  Input should be an integer [type=int_parsing, input_value='12x', input_type=str]",
        "https://h/p?key=name&code=de",
        "re_compile_the_pattern_of_names",
        "site-packages/perdure -p",
        "set -e; setx PATH bin",
        "see https://h/hooks/orders",
        "response=200 code=404",
        "SELECT password_hint FROM t WHERE name = 'bob'",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    """The rules are about credentials: what helps to find a fault is not among them."""
    assert redact(text) == text


@pytest.mark.parametrize("value", KNOWN)
def test_known_values_in_other_clothes(value: str) -> None:
    """As hexadecimal digits, in HTML, in base64 that is wrapped, in the repr of its bytes."""
    hide = Redactor([value])
    data = value.encode()
    around = b"user:" + data + b":and what follows it, which is long enough for another line"
    wrapped = base64.encodebytes(around).decode()
    shown = [
        data.hex(),
        data.hex().upper(),
        data.hex(" "),
        data.hex(":"),
        html.escape(value),
        html.escape(value, quote=False),
        repr(data),
        repr(f"{value!r}"),
        wrapped,
        repr(wrapped),
        "\n    ".join(wrapped.split("\n")),
    ]
    for text in shown:
        hidden = hide(f"before {text} after")
        assert hidden != f"before {text} after"
        assert data.hex() not in hidden
        assert not any(line and line[4:-4] in hidden for line in wrapped.split("\n")[:-2] if text.startswith(line))


@pytest.mark.parametrize("value", KNOWN)
@pytest.mark.parametrize(
    "piece", ["\n", "\r\n", "\n        ", "\x1b[31m", "\x1b[0;1m", "\u200b", "\u00ad", "\u2060", "\\n"]
)
def test_a_known_value_that_is_split(value: str, piece: str) -> None:
    """By the end of a line, by a colour, by a character that is not seen: neither half is left."""
    middle = len(value) // 2
    hidden = Redactor([value])(f"before {value[:middle]}{piece}{value[middle:]} after")
    assert hidden == "before *** after"


def test_a_split_elsewhere_changes_nothing() -> None:
    """Lines and colours of a text without a secret stay."""
    text = "one\n\x1b[31mtwo\x1b[0m\u200b three"
    assert Redactor(["tulip-garden-walk"])(text) == text
