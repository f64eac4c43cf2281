"""The targets of alerts: which settings win, what a text names, and that no message shows an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.alerts import recipients, sender
from perdure.alerts.channels.base import what_to_do
from perdure.alerts.channels.target_address import parse
from perdure.config import settings
from perdure.errors import OptionError

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw9"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERDURE_ALERTS", "ALERT_TELEGRAM_TOKEN", "ALERT_CHAT_ID", "ALERT_TELEGRAM_API", "PERDURE_HEARTBEAT"):
        monkeypatch.delenv(name, raising=False)
    settings.forget_files()


def names(*args: object) -> list[str]:
    return [target.name for target in recipients.targets(*args)]  # type: ignore[arg-type]


def test_the_most_specific_setting_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, PERDURE_ALERTS, pyproject.toml, the Telegram variables; an empty one says none."""
    script = tmp_path / "script.py"
    script.touch()
    assert names(None, str(script)) == []
    monkeypatch.setenv("ALERT_TELEGRAM_TOKEN", TOKEN)
    assert names(None, str(script)) == []
    monkeypatch.setenv("ALERT_CHAT_ID", "-100")
    assert names(None, str(script)) == ["telegram chat -100"]
    (tmp_path / "pyproject.toml").write_text('[tool.perdure]\nalerts = ["https://a.example/x", "exec:/bin/true"]\n')
    settings.forget_files()
    assert names(None, str(script)) == ["https://a.example", "exec:/bin/true"]
    monkeypatch.setenv("PERDURE_ALERTS", "https://b.example/x, telegram")
    assert names(None, str(script)) == ["https://b.example", "telegram chat -100"]
    assert names(["https://c.example/x"], str(script)) == ["https://c.example"]
    assert names([], str(script)) == []
    monkeypatch.setenv("PERDURE_ALERTS", "")
    assert names(None, str(script)) == []


def test_the_heartbeat_has_settings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PERDURE_HEARTBEAT, then pyproject.toml."""
    script = tmp_path / "script.py"
    script.touch()
    assert settings.heartbeat_url(str(script)) is None
    (tmp_path / "pyproject.toml").write_text('[tool.perdure]\nheartbeat = "https://hc.example/x"\n')
    settings.forget_files()
    assert settings.heartbeat_url(str(script)) == "https://hc.example/x"
    monkeypatch.setenv("PERDURE_HEARTBEAT", "https://other.example/x")
    assert settings.heartbeat_url(str(script)) == "https://other.example/x"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" , ", []),
        ("https://a.example/x?to=a,b", ["https://a.example"]),
        ("webhook+http://a.example:80/x", ["http://a.example"]),
        ("exec:/usr/bin/logger -t perdure, x", ["exec:/usr/bin/logger"]),
        ("exec:/bin/a --to host:25 https://a.example/x", ["exec:/bin/a", "https://a.example"]),
        (f"tgram://{TOKEN}/-100/@news/news", ["telegram chat -100", "telegram chat @news"]),
        (f"tgram://{TOKEN}/-100?api=http://127.0.0.1:80", ["telegram chat -100"]),
        ("https://a.example/x https://a.example/x", ["https://a.example"]),
    ],
)
def test_a_text_can_name_several(text: str, found: list[str]) -> None:
    """Separated by spaces or commas; a new one begins where a scheme does; the same one counts once."""
    assert [target.name for target in parse(text)] == found


@pytest.mark.parametrize("text", [f"tgram://{TOKEN}/-100?silent=yes", "slack://a/b/c", "mailto://u:p@example.org"])
def test_the_rest_is_for_apprise(text: str) -> None:
    """Two of a kind have different names, without their addresses."""
    (target,) = parse(text)
    assert target.name.startswith(text.split("://")[0])
    assert target.name.endswith("...")


@pytest.mark.parametrize("text", ["hunter2hunter2", "exec:", "https://", "https://:80/hunter2", "exec:'hunter2"])
def test_what_is_no_target_is_refused_without_being_shown(text: str) -> None:
    """It may hold a credential all the same."""
    with pytest.raises(OptionError) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 429, 500, 503, 599])
def test_a_busy_service_is_no_reason_to_change_its_setting(status: int) -> None:
    """Who is asked too often, or is broken, is asked again; an address or a credential is wrong otherwise."""
    assert "kept and sent again" in what_to_do(status)
    assert "credentials" in what_to_do(401)


def test_a_chat_stays_the_same_when_its_token_is_renewed() -> None:
    """So what waits for it is still delivered."""
    (old,) = parse(f"tgram://{TOKEN}/-100")
    (new,) = parse("tgram://110201543:another-token-altogether/-100")
    (other,) = parse(f"tgram://{TOKEN}/-101")
    assert old.digest == new.digest != other.digest


def test_telegram_without_a_chat_is_skipped(tmp_path: Path) -> None:
    """A script that names it runs where the variables are not set; only a test of the set-up says what is missing."""
    from perdure.alerts.alert import Alert
    from perdure.alerts.spool import Spool

    targets = parse("telegram")
    assert sender.send(Alert(what="failed"), targets, tmp_path / "alerts") == []
    assert Spool(tmp_path / "alerts").pending({}).alerts == []
    failure = sender.attempt(Alert(what="test"), targets[0])
    assert failure is not None
    assert "ALERT_TELEGRAM_TOKEN" in failure.hint


def test_without_apprise_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command to type."""
    from perdure.alerts.alert import Alert
    from perdure.alerts.channels import apprise_channel as other
    from perdure.errors import AlertError

    monkeypatch.setattr(other, "find_spec", lambda _: None)
    with pytest.raises(AlertError, match=r"pip install 'perdure\[alerts\]'"):
        parse("slack://a/b/c")[0].send(Alert(what="test"))
