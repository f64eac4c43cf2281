"""What counts as a secret, by its name or as it is, and how text is shown that a terminal would act on."""

from __future__ import annotations

import base64
import json

import pytest

from perdure.core.redaction import printable
from perdure.core.redaction.names import is_mixed, is_secret, is_secret_variable
from perdure.core.redaction.nested import redact_nested
from perdure.core.redaction.text import Redactor, bounded, is_distinct, redact


@pytest.mark.parametrize(
    ("value", "distinct"),
    [
        ("abcde", False),
        ("abcdef", True),
        ("password", False),
        ("PASSWORD", False),
        ("******", False),
        ("*. \t\r\n*", False),
        ("*****a", True),
    ],
)
def test_which_values_are_looked_for(value: str, distinct: bool) -> None:
    """Neither short ones nor common words nor what stands for something hidden."""
    assert is_distinct(value) is distinct
    assert (Redactor([value])(f"<{value}>") == "<***>") is distinct


def test_a_short_part_of_a_secret_in_base64_is_no_form_of_it() -> None:
    """Behind other bytes, seven letters of a secret of six are its own; eight are hidden."""
    seven = base64.b64encode(b"\0abcdef")[2:9].decode()
    eight = base64.b64encode(b"abcdef").decode()
    assert Redactor(["abcdef"])(f"<{seven}> <{eight}>") == f"<{seven}> <***>"


@pytest.mark.parametrize(
    ("name", "secret", "of_variable"),
    [
        ("password", True, True),
        ("db_passwd", True, True),
        ("passwordHash", True, True),
        ("API_KEY", True, True),
        ("key", False, False),
        ("primary_key", False, True),
        ("MY_PWD", True, True),
        ("token", True, True),
        ("token_type", False, False),
        ("tokens", False, False),
        ("password_file", False, False),
        ("MASTERPASSWORD", True, True),
        ("DB_CREDS", True, True),
        ("", False, False),
        ("123", False, False),
    ],
)
def test_which_names_are_those_of_secrets(name: str, secret: bool, of_variable: bool) -> None:
    """Of variables some more."""
    assert is_secret(name) is secret
    assert is_secret_variable(name) is of_variable


@pytest.mark.parametrize(
    "names",
    [
        "PGPASSWORD PGPWD DBPWD MYSQL_PWD userpwd sapwd newPwd DB_PW bindpw pw",
        "PGPASS SSHPASS dbPass DBpass storepass SMTP_PASS",
        "sslpassword keystorePassword KEYSTOREPASSWORD password2 SSLKEYPASSPHRASE clientSecret CLIENTSECRET",
        "X-Api-Key XApiKey x_api_key apiKey APIKEY APIkey api-key sig X-Amz-Signature X-Auth",
        "privateKey privatekey SECRETKEY accesskey awssecretaccesskey SharedAccessKey sharedaccesskey hmackey",
        "refreshtoken ACCESSTOKEN idToken _authToken csrfmiddlewaretoken db_cred creds",
    ],
)
def test_names_of_secrets_in_every_style(names: str) -> None:
    """Words run together or apart, in small and capital letters: in a variable, a header, a DSN, a query or JSON."""
    for name in names.split():
        for text in (
            f"{name}=cAnary7Xq9",
            f'{{"{name}": "cAnary7Xq9"}}',
            f"{name}: cAnary7Xq9",
            f"h?a=1&{name}=cAnary7Xq9&b",
        ):
            assert redact(text) == text.replace("cAnary7Xq9", "***")
        assert redact_nested({name: "tulip"}, redact) == {name: "***"}


@pytest.mark.parametrize(
    "names",
    [
        "passenger keyboard cwd compass bypass trespass lowpass low_pass first_pass passport passed",
        "monkey turkey hockey keyword key keys sort_key publickey author secretary signal sigma",
        "tokenizer tokens pathway patient pattern sidebar side power spw fwd cmd cookie_domain password_file",
    ],
)
def test_names_that_only_look_like_those_of_secrets(names: str) -> None:
    """What stands behind them stays."""
    for name in names.split():
        for text in (f"{name}=plain7Xq9", f'{{"{name}": "plain7Xq9"}}'):
            assert redact(text) == text
    assert redact("pass=3 fail=2") == "pass=3 fail=2"
    assert redact("OLDPWD=/home/bob") == "OLDPWD=/home/bob"


def test_passwords_in_braces() -> None:
    """As connection strings of ODBC have them; not the variable of a format string."""
    assert redact("UID=sa;PWD={s3;c=r}}et};Encrypt=yes") == "UID=sa;PWD={***};Encrypt=yes"
    assert redact('f"PWD={self.word};"') == 'f"PWD={self.word};"'


def test_variables_that_name_a_folder_or_a_socket_are_no_secrets() -> None:
    """Whatever they end with."""
    names = ("PWD", "oldpwd", "SSH_AUTH_SOCK", "XAUTHORITY", "GPG_AGENT_INFO")
    assert [is_secret_variable(name) for name in names] == [False] * 5


def test_letters_and_digits_are_mixed() -> None:
    """From six characters on."""
    assert [is_mixed(value) for value in ("abc12", "abc123", "abcdef", "123456")] == [False, True, False, False]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer abc123", "Bearer ***"),
        ("basic abcdef=", "basic ***"),
        ("Bearer abCDef", "Bearer ***"),
        ("basic Principle", "basic Principle"),
        ("basic principle", "basic principle"),
        ("password=''", "password=''"),
        ("password='none'", "password='none'"),
        ("password='hunter22'", "password='***'"),
    ],
)
def test_what_stands_behind_a_word(text: str, shown: str) -> None:
    """A token has a digit, or letters of both cases, or ends as base64 does; prose does not."""
    assert redact(text) == shown


def test_the_middle_of_a_text_is_left_out_at_words() -> None:
    """A quarter of what is kept stands in front, the rest at the end; one that fits is whole."""
    words = " ".join(f"{number:04}" for number in range(1000))
    assert bounded(words, len(words)) is words
    cut = bounded(words, 400)
    head, _, tail = cut.partition("\n  [... ")
    assert head == words[:99]
    assert words.endswith(tail.partition("...]\n")[2])
    assert tail.partition("...]\n")[2].startswith(" 0940")
    assert tail.partition(" ")[0] == str(len(words) - 99 - len(tail.partition("...]\n")[2]))
    solid = "x" * 10_000
    assert bounded(solid, 400) == f"{solid[:100]}\n  [... 9600 characters left out ...]\n{solid[:300]}"


def test_secrets_in_values_are_hidden_by_the_names_that_they_stand_under() -> None:
    """Also in the list of a plural, where they are mixed; what has nothing to hide is the value itself."""
    plain = {"a": [1, "b", b"c"], ("k", 2): {"d"}}
    assert redact_nested(plain, redact, "") is plain
    given = {"password": "tulip", "tokens": ["abc123", "word"], "note": {"secret": ["tulip", b"bulb"]}, 7: "x"}
    assert redact_nested(given, redact, "") == {
        "password": "***",
        "tokens": ["***", "word"],
        "note": {"secret": ["***", b"***"]},
        7: "x",
    }
    assert redact_nested(b"key=\xff tulip-garden", Redactor(["tulip-garden"]), "") == b"key=\xff ***"
    assert redact_nested("tülip-garden".encode(), Redactor(["tülip-garden"]), "") == b"***"


@pytest.mark.parametrize("character", ["\x1b", "\x7f", "\u202e", "\ud800", "\uffff", "\U00010000", "\U000e0001"])
def test_what_a_terminal_would_act_on_is_escaped(character: str) -> None:
    """In a text, in a line, and in JSON, where it reads as the same character."""
    text = f"a\t{character}\nb"
    shown = character if character.isprintable() else ascii(character)[1:-1]
    assert printable.printable(text) == f"a\t{shown}\nb"
    assert printable.one_line(text) == f"a\\t{shown}\\nb"
    encoded = printable.json_text(json.dumps(character, ensure_ascii=False))
    assert json.loads(encoded) == character
    assert encoded.isprintable()
    assert printable.json_text('{"a":\n1}') == '{"a":\n1}'


@pytest.mark.parametrize(
    "text",
    [
        "<CookieJar[<Cookie basket=tulip-garden-walk for shop.example/>]>",
        "openssl rsa -passin pass:tulipgarden -in k",
        "machine h login bob password tulip-garden-walk",
    ],
)
def test_what_only_its_place_tells(text: str) -> None:
    """A cookie of a jar by another name, and words without a digit behind `pass:` and in a .netrc."""
    assert "tulip" not in redact(text)
