"""A Secret is neither stored nor printed; what is kept of an exception has no credentials in it."""

from __future__ import annotations

import copy
import gc
import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure import step, workflow
from perdure.config import command_line, secrets
from perdure.core.exceptions import capture
from perdure.core.redaction.secret import Secret, living
from perdure.core.values import codec
from perdure.engines.local.engine import close_all
from perdure.errors import NotDecodable, NotStorable, OptionError

CANARY = "cAnary7Xq9Zw3"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    yield tmp_path / "state.db"
    close_all()


def test_a_secret_shows_nothing() -> None:
    """Printed, formatted, in containers and in errors it is three stars; only reveal() gives the value."""
    secret = Secret(CANARY)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>40}", f"{[secret]}"]
    assert all(CANARY not in each for each in shown)
    assert set(shown) == {"Secret('***')", "[Secret('***')]"}
    assert secret.reveal() == CANARY
    assert not hasattr(secret, "__dict__")


def test_a_secret_cannot_be_written_down() -> None:
    """Not by pickle, JSON or msgspec; a copy is the Secret itself."""
    secret = Secret(CANARY)
    with pytest.raises(TypeError, match="never stored"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": secret})["a"] is secret
    with pytest.raises(OptionError):
        Secret(5)  # type: ignore[type-var]


def test_secrets_compare_by_value() -> None:
    """Equal values are equal, str and bytes are not."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != Secret(b"a")
    assert Secret("a") != "a"
    assert not Secret("")


def test_a_value_is_hidden_while_its_secret_lives() -> None:
    """In every text, whatever it looks like; and not any more when the Secret is gone."""
    gc.freeze()  # no need to look through what is there already
    secret = Secret("rosebud of winter")
    assert secrets.conceal("said rosebud of winter") == "said ***"
    del secret
    gc.collect()
    assert "rosebud of winter" not in living()
    assert secrets.conceal("said rosebud of winter") == "said rosebud of winter"


def test_a_secret_argument_is_left_out(state: Path) -> None:
    """The step gets it; the state file does not; another one (rotated) makes no other call."""
    seen: list[str] = []

    @step
    def login(user: str, password: Secret[str]) -> str:
        seen.append(password.reveal())
        return user

    @workflow
    def job(password: Secret[str]) -> str:
        return login("bob", password)

    named = job.with_options(id="one")
    assert named(Secret(CANARY)) == "bob"
    assert named(Secret("another-" + CANARY)) == "bob"
    assert seen == [CANARY]
    close_all()
    for file in state.parent.iterdir():
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes()


def test_a_secret_result_is_refused() -> None:
    """A result has to come back on resume, and a Secret is never stored: an error that says so."""

    @step
    def fetch() -> Secret[str]:
        return Secret(CANARY)

    @workflow
    def job() -> None:
        fetch()

    with pytest.raises(NotStorable, match="never stored") as raised:
        job()
    assert CANARY not in str(raised.value)


def test_arguments_with_a_secret_cannot_be_given_again() -> None:
    """Where only the stored arguments are at hand (`perdure resume`, a re-driven dead letter), the error says why."""
    data = codec.pack_inputs([1, {"key": Secret(CANARY)}], {}, owner="step 'x'")
    assert CANARY.encode() not in data
    assert codec.describe_inputs(data) == "(1, {'key': Secret('***')})"
    assert codec.to_builtins(data) == [1, {"key": "Secret('***')"}]
    with pytest.raises(NotDecodable, match="never stored"):
        codec.unpack_inputs(data, [], owner="step 'x'")


class Refused(Exception):
    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.__dict__.update(more)


def stored(error: Exception) -> tuple[bytes, Exception]:
    try:
        raise error
    except Exception as raised:
        data = capture.encode(capture.to_fault(raised))
    return data, capture.restore(capture.decode(data))


def test_what_is_kept_of_an_exception_has_no_credentials() -> None:
    """Message, arguments, attributes of every kind, notes, cause; types and the rest as they were."""
    cause = ValueError(f"token={CANARY}")
    error = Refused(
        f"login with password={CANARY} failed",
        code=401,
        url=f"https://bob:{CANARY}@h/x",
        headers={"Authorization": f"Bearer {CANARY}", "Host": "h"},
        body=f'{{"api_key": "{CANARY}"}}'.encode(),
        tried=[f"secret={CANARY}", ("x", 1)],
        password=CANARY,
    )
    error.add_note(f"cookie: sid={CANARY}")
    error.__cause__ = cause
    data, again = stored(error)
    assert CANARY.encode() not in data
    assert type(again) is Refused
    assert again.args == ("login with password=*** failed",)
    assert vars(again) | {"__notes__": 0} == {
        "code": 401,
        "url": "https://bob:***@h/x",
        "headers": {"Authorization": "***", "Host": "h"},
        "body": b'{"api_key": "***"}',
        "tried": ["secret=***", ("x", 1)],
        "password": "***",
        "__notes__": 0,
    }
    assert error.args == (f"login with password={CANARY} failed",)  # the one that the workflow sees is as it was


def test_an_exception_without_credentials_comes_back_as_it_was() -> None:
    """Nothing is changed, or lost, that holds nothing to hide."""
    _, again = stored(Refused("no such order", order=17, at=("a", b"b", 1.5), parts={"x": [1]}))
    assert type(again) is Refused
    assert vars(again) == {"order": 17, "at": ("a", b"b", 1.5), "parts": {"x": [1]}}


def test_known_values_are_hidden_in_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value from the environment that looks like nothing special."""
    monkeypatch.setenv("SHOP_API_KEY", "tulip-garden-walk")
    monkeypatch.setenv("DATABASE_URL", "postgres://bob:quiet-harbour@db.example/shop")
    data, again = stored(ValueError("sent tulip-garden-walk to db.example, then quiet-harbour"))
    assert str(again) == "sent *** to db.example, then ***"
    assert b"tulip" not in data
    assert b"harbour" not in data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SORT_KEY", "created_at"),
        ("SSH_KEY", "/home/bob/.ssh/id"),
        ("EDITOR", "vim-or-emacs-9"),
        ("API_TOKEN", "admin"),
    ],
)
def test_what_is_no_secret_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Names of columns, paths of files, common words."""
    monkeypatch.setenv(name, value)
    assert secrets.conceal(f"about {value} only") == f"about {value} only"


def test_what_has_become_secret_is_not_kept_with_the_command_line_of_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line is packed once for a process, and anew when other values are secret, or other arguments are given."""
    monkeypatch.setattr(command_line, "_is_of_user", True)
    monkeypatch.setattr(command_line, "_GIVEN", ["--region", "north-by-northwest"])
    before = command_line.given()
    assert before is command_line.given()
    assert before is not None
    assert b"north-by-northwest" in before
    kept = Secret("north-by-northwest")
    now = command_line.given()
    assert now is not None
    assert kept.reveal().encode() not in now
    monkeypatch.setattr(command_line, "_GIVEN", ["--region", "south"])
    assert b"south" in (command_line.given() or b"")
