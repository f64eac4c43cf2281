"""Every setting is checked before a run begins, also those that are looked at only when something has failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perdure import step, workflow
from perdure.alerts import recipients
from perdure.config import settings, unknown_variables
from perdure.config.script_folder import script_folder
from perdure.errors import OptionError, StateError
from perdure.operations.location import Location, locate

WRONG = {
    "STEP_TIMEOUT_MS": ("soon", "0"),
    "PERDURE_ALERTS": ("garbage", ",", "exec:", "https://"),
    "PERDURE_HEARTBEAT": ("garbage", "ftp://host/x", "https://"),
    "PERDURE_DEAD_LETTERS": ("abc", "0", "1.5"),
    "PERDURE_PUBLIC_URL": ("garbage", "ftp://host/x", "https://"),
    "PERDURE_UI_URL": ("garbage", "ftp://host/x", "https://"),
    "PERDURE_ARTIFACT_ABOVE": ("abc", "5", "-1"),
    "PERDURE_CRASH_LIMIT": ("abc", "0", "-1", "9" * 400),
    "PERDURE_SUSPEND_AFTER": ("soon", "-1s"),
    "PERDURE_STUCK_AFTER": ("soon", "-1"),
    "PERDURE_OTEL": ("banana",),
    "PERDURE_ALERT_BREAKER_AFTER": ("zz", "-1s"),
    "PERDURE_ALERT_INTERRUPTS": ("perhaps",),
    "PERDURE_LOG_JSON": ("maybe",),
    "PERDURE_SHARED": ("some",),
    "PERDURE_QUIET": ("a bit",),
    "PERDURE_LOGS": ("a few",),
    "WORKFLOW_DLQ_PATH": ("/",),
}
RIGHT = {
    "STEP_TIMEOUT_MS": "1500",
    "PERDURE_ALERTS": "https://example.org/alerts",
    "PERDURE_HEARTBEAT": "https://example.org/ping",
    "PERDURE_DEAD_LETTERS": "5",
    "PERDURE_PUBLIC_URL": "https://example.org/perdure",
    "PERDURE_UI_URL": "https://example.org/perdure",
    "PERDURE_ARTIFACT_ABOVE": "20000",
    "PERDURE_CRASH_LIMIT": "5",
    "PERDURE_SUSPEND_AFTER": "5m",
    "PERDURE_STUCK_AFTER": "3600",
    "PERDURE_OTEL": "Off",
    "PERDURE_ALERT_BREAKER_AFTER": "90s",
    "PERDURE_ALERT_INTERRUPTS": "yes",
    "PERDURE_LOG_JSON": "TRUE",
    "PERDURE_SHARED": "0",
    "PERDURE_QUIET": " 1 ",
    "PERDURE_LOGS": "off",
}
FREE = {
    "PERDURE_STATE",
    "PERDURE_ENGINE",
    *(name for name in (one.variable for one in settings.SETTINGS) if "TLS" in name),
}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for one in settings.SETTINGS:
        monkeypatch.delenv(one.variable, raising=False)
    settings.forget_files()
    path = tmp_path / "script.py"
    path.touch()
    return str(path)


def check(script: str) -> None:
    settings.check(script)
    recipients.check(script)


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_wrong_variable_is_named(script: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """Each time, not only the first."""
    monkeypatch.setenv(variable, value)
    for _ in range(2):
        with pytest.raises(OptionError) as refused:
            check(script)
        assert refused.value.what.startswith(variable)


@pytest.mark.parametrize("variable", [*RIGHT, *WRONG])
def test_a_right_or_an_empty_variable_is_taken(script: str, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The control of the test above."""
    for value in ("", RIGHT.get(variable, "")):
        monkeypatch.setenv(variable, value)
        check(script)


@pytest.mark.parametrize(
    "line",
    [
        *("state = 5", "engine = []", "step_timeout = 'zz'", "alerts = 5", "alerts = ['garbage']", "heartbeat = 'x'"),
        *("dead_letters = 0", "crash_limit = true", "crash_limit = 1.5", "otel = 'banana'", "tls_ca_file = 7"),
        *("alert_breaker_after = 'zz'", "alert_interrupts = 2"),
    ],
)
def test_a_wrong_setting_in_pyproject_is_named(script: str, line: str) -> None:
    """With the file that it stands in."""
    Path(script).with_name("pyproject.toml").write_text(f"[tool.perdure]\n{line}\n")
    with pytest.raises(OptionError) as refused:
        check(script)
    assert refused.value.what.startswith(f"{line.split(' =')[0]} in pyproject.toml")


def test_every_variable_is_tried_here() -> None:
    """A new setting is one of those above."""
    assert {one.variable for one in settings.SETTINGS} - FREE <= WRONG.keys() | {
        "PERDURE_API_KEY_FILE",
        "PERDURE_ENCRYPTION_KEYS_FILE",
    }


def test_a_variable_that_is_no_setting_is_pointed_out(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once in a process, with the setting that may be meant, and never a mark of perdure's own processes."""
    monkeypatch.setattr(unknown_variables, "_said", set())
    monkeypatch.setenv("PERDURE_CRASHLIMIT", "7")
    monkeypatch.setenv("PERDURE_BANANA", "7")
    monkeypatch.setenv("PERDURE_ST", "7")
    monkeypatch.setenv("PERDURE_CRASH_LIMIT", "8")
    monkeypatch.setenv("PERDURE_TLS_SERVER_NAME", "example.org")
    for _ in range(2):
        settings._checked.clear()
        check(script)
    assert capsys.readouterr().err.splitlines() == [
        "perdure: the environment variable PERDURE_BANANA is no setting of perdure, and has no effect",
        "perdure: the environment variable PERDURE_CRASHLIMIT is no setting of perdure, and has no effect; "
        "did you mean PERDURE_CRASH_LIMIT?",
        "perdure: the environment variable PERDURE_ST is no setting of perdure, and has no effect; "
        "did you mean PERDURE_STATE?",
    ]


def test_every_variable_that_is_read_is_known() -> None:
    """One that the sources name and that is not known would be pointed out to everybody who sets it."""
    sources = (Path(unknown_variables.__file__).parents[1]).rglob("*.py")
    named = {name for path in sources for name in re.findall(r"PERDURE_[A-Z]+(?:_[A-Z]+)*\b(?!_)", path.read_text())}
    assert named - {one.variable for one in settings.SETTINGS} <= {*unknown_variables.KEYS, *unknown_variables.MARKS}


def test_the_values_in_force_are_those_that_were_checked(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read later is what was looked at."""
    for name, value in RIGHT.items():
        monkeypatch.setenv(name, value)
    assert settings.crash_limit(script) == settings.dead_letters(script) == 5
    assert settings.alert_breaker_after(script) == 90
    assert settings.stuck_after(script) == 3600, "a number in the environment is one of seconds, as in pyproject.toml"
    assert settings.alert_interrupts(script)
    assert settings.log_json()
    assert not settings.otel(script)
    assert settings.heartbeat_url(script) == RIGHT["PERDURE_HEARTBEAT"]
    monkeypatch.setenv("PERDURE_ALERTS", "")
    monkeypatch.setenv("PERDURE_HEARTBEAT", "")
    assert settings.heartbeat_url(script) is None
    assert recipients.addresses(None, script) == ()


def test_no_run_begins_with_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is executed, and no state file is made."""
    ran: list[int] = []

    @step(retry=None)
    def never_with_wrong_settings() -> None:
        ran.append(1)

    @workflow
    def w_with_wrong_settings() -> None:
        never_with_wrong_settings()

    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    for variable, (value, *_) in WRONG.items():
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            if variable != "STEP_TIMEOUT_MS":  # which the decorator has read
                with pytest.raises(OptionError, match=variable):
                    w_with_wrong_settings()
    assert ran == []
    assert list(tmp_path.iterdir()) == []


def test_a_script_whose_folder_the_system_does_not_show_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours, not the system's."""

    def broken(_path: Path) -> bool:
        raise OSError(5, "Input/output error", "/somewhere/s.py")

    monkeypatch.setattr(Path, "exists", broken)
    with pytest.raises(StateError, match="/somewhere/") as named:
        script_folder("/somewhere/s.py")
    assert named.value.code == "state-io"


def test_a_working_directory_that_was_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as an error of the disk."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StateError, match="the working directory was removed"):
        script_folder("")
    with pytest.raises(StateError, match="the working directory was removed"):
        settings.state_path("")


def test_a_state_file_that_a_variable_names_needs_no_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does any other setting: no pyproject.toml says anything there."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    settings.forget_files()
    assert settings.state_path("") == tmp_path / "state.db"
    assert settings.logs()
    settings.check("")
    assert locate(tmp_path / "other.db") == Location(tmp_path / "other.db", "--state", f" --state {tmp_path}/other.db")
    with pytest.raises(StateError, match="the working directory was removed"):
        locate(Path("other.db"))


def test_a_path_of_spaces_is_none(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an empty one is."""
    monkeypatch.setenv("PERDURE_STATE", "  ")
    assert settings.state_path(script) == Path(script).parent / ".perdure" / "state.db"
