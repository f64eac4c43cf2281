"""Settings: argument > environment > `[tool.perdure]` in pyproject.toml (`project_file`) > default."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.config import cluster_options, project_file
from perdure.config import setting_values as values
from perdure.config.script_folder import is_nowhere, script_folder
from perdure.config.unknown_variables import point_out_unknown
from perdure.config.variables import snapshot, variable
from perdure.errors import OptionError, StateReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.core.policies.failure_rules import Rule

LOCAL = "local"
"""The address of the engine of this machine, whose runs are in a state file."""

STEP_TIMEOUT = 600.0
"""Seconds. A net against hanging for ever; calls to the outside set their own."""

CRASH_LIMIT = 3
"""A step in flight at so many crashes in a row is not tried again."""

ARTIFACT_ABOVE = 1_000_000
"""Bytes. A result that is larger lies in a file of its own, beside the state file."""

SMALLEST_ARTIFACT = 10_000
"""Bytes that `artifact_above` may be set to at least: what is smaller is better off in the state file."""

DEAD_LETTERS = 10_000
"""Parked ones that a state file keeps before the oldest make room."""

SUSPEND_AFTER = 60.0
"""Seconds. A run that waits for longer is left: it is only rows until it goes on."""

STUCK_AFTER = 7 * 86_400.0
"""Seconds. A wait for a signal or another run that lasts for longer raises an alert."""

BREAKER_AFTER = 300.0
"""Seconds that a circuit breaker may be open before an alert is sent."""


class Setting(msgspec.Struct, frozen=True):
    """A setting: its name in pyproject.toml (empty: it has none there), its environment variable, what it may be.

    `from_variable` is what the variable may be, if that is written otherwise. `empty`: a variable that is set and empty
    says that there is none.
    """

    name: str
    variable: str
    parse: Callable[[Any, str], Any]
    from_variable: Callable[[Any, str], Any] | None = None
    empty: bool = False


def _above(value: Any, where: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 19:
        value = int(value)
    return 0 if type(value) is int and value == 0 else checked_artifact_above(value, where, "0 for never")


PUBLIC_URL = Setting("public_url", "PERDURE_PUBLIC_URL", values.http_address, empty=True)
UI_URL = Setting("ui_url", "PERDURE_UI_URL", values.http_address, empty=True)
STATE = Setting("state", "PERDURE_STATE", values.text)
ENGINE = Setting("engine", "PERDURE_ENGINE", values.text)
TIMEOUT = Setting("step_timeout", "STEP_TIMEOUT_MS", values.duration, values.milliseconds)
ALERTS = Setting("alerts", "PERDURE_ALERTS", values.targets, empty=True)
HEARTBEAT = Setting("heartbeat", "PERDURE_HEARTBEAT", values.http_address, empty=True)
KEPT_LETTERS = Setting("dead_letters", "PERDURE_DEAD_LETTERS", values.whole)
CRASHES = Setting("crash_limit", "PERDURE_CRASH_LIMIT", values.whole)
ARTIFACTS = Setting("artifact_above", "PERDURE_ARTIFACT_ABOVE", _above)
OTEL = Setting("otel", "PERDURE_OTEL", values.switch)
BREAKER_ALERT = Setting("alert_breaker_after", "PERDURE_ALERT_BREAKER_AFTER", values.duration)
INTERRUPTS = Setting("alert_interrupts", "PERDURE_ALERT_INTERRUPTS", values.switch)
SUSPENDS = Setting("suspend_after", "PERDURE_SUSPEND_AFTER", values.duration)
STUCK = Setting("stuck_after", "PERDURE_STUCK_AFTER", values.duration)
LOG_JSON = Setting("", "PERDURE_LOG_JSON", values.switch)
SHARED = Setting("", "PERDURE_SHARED", values.switch)
QUIET = Setting("", "PERDURE_QUIET", values.switch)
LOGS = Setting("logs", "PERDURE_LOGS", values.switch)
LETTER_FILE = Setting("", "WORKFLOW_DLQ_PATH", values.file)

SETTINGS = (
    *(STATE, ENGINE, TIMEOUT, ALERTS, HEARTBEAT, KEPT_LETTERS, CRASHES, OTEL, BREAKER_ALERT, INTERRUPTS, LOG_JSON),
    *(PUBLIC_URL, UI_URL, SHARED, QUIET, LOGS, LETTER_FILE, ARTIFACTS, SUSPENDS, STUCK),
    *(Setting(name, cluster_options.variable(name), values.text) for name in cluster_options.NAMES),
)
"""All of them but the rules of failures, which are read with the file that they are in."""

KNOWN = (*(one.name for one in SETTINGS if one.name), "failures")

_VARIABLES = tuple(one.variable for one in SETTINGS)
_checked: set[tuple[str, tuple[Any, ...]]] = set()


def check(script: str) -> None:
    """See that every setting is one, before a run relies on it: some are looked at only when something fails.

    Raises:
        OptionError: one is not; the error names the variable, or the setting in pyproject.toml.
    """
    seen = (script, snapshot(_VARIABLES))
    if seen not in _checked:
        for one in SETTINGS:
            _read(one, script)
        _checked.add(seen)
        point_out_unknown(one.variable for one in SETTINGS)


def _read(setting: Setting, script: str) -> Any:
    """The value in force; None if none is set.

    Raises:
        OptionError: it is not one.
    """
    named = variable(setting.variable)
    if named is not None and (named.strip() or setting.empty):
        parse = setting.from_variable or setting.parse
        return parse(named, setting.variable) if named.strip() else None
    if not setting.name:
        return None
    configured, _ = _configured(script, setting.name)
    return None if configured is None else setting.parse(configured, f"{setting.name} in pyproject.toml")


def as_set(script: str, *variables: str) -> object:
    """What these variables say, and pyproject.toml: as long as it is the same, so are the settings that they stand for.

    None: that has to be looked up.
    """
    table = _tables.get(script)
    return None if table is None else (table, snapshot(variables))


def state_path(script: str) -> Path:
    """The state file: PERDURE_STATE, WORKFLOW_STATE_PATH, `state` in pyproject.toml; `.perdure/state.db` by the script.

    Args:
        script: the path of the script; empty or a name in angle brackets when there is no file (the folder is the
            working directory then).
    """
    named = (variable("PERDURE_STATE") or "").strip() or (variable("WORKFLOW_STATE_PATH") or "").strip()
    if named:
        return _absolute(named) if os.path.isabs(named) else Path(named).absolute()
    found = _states.get(script)
    if found is None:
        folder = script_folder(script)
        configured, where = _configured(script, "state")
        own = folder / ".perdure" / "state.db"
        found = own if configured is None else (where / str(configured)).absolute()
        if script in _tables:
            _states[script] = found
    return found


@cache
def _absolute(path: str) -> Path:
    """An absolute path, taken apart once: each run asks for that of its state."""
    return Path(path)


def step_timeout(script: str) -> tuple[float, bool]:
    """The timeout of a step that sets none, in seconds, and whether it was set.

    Raises:
        OptionError: STEP_TIMEOUT_MS is not a number of milliseconds.
    """
    found = _read(TIMEOUT, script)
    return (STEP_TIMEOUT, False) if found is None else (found, True)


def engine_url(script: str = "", named: str | None = None) -> str:
    """Which engine runs a script: by argument, PERDURE_ENGINE, or `engine` in pyproject.toml; `local`, or a cluster.

    The address of a cluster comes with the options of pyproject.toml (`cluster_options`). Those for TLS belong to a
    cluster that is named there, or to an address with TLS: a trial cluster is not asked for the certificate of another.

    Args:
        script: the path of the script.
        named: the address, if an argument names it.
    """
    url = named or variable("PERDURE_ENGINE")
    whole = url is None or cluster_options.has_tls(url)
    if url is None:
        configured, _ = _configured(script, "engine")
        url = str(configured) if configured is not None else LOCAL
    if not cluster_options.is_cluster(url):
        return url
    options: dict[str, str] = {}
    for name in cluster_options.NAMES if whole else (cluster_options.ENCRYPTION_KEYS_FILE,):
        configured, where = _configured(script, name)
        if configured is not None:
            is_file = name in cluster_options.FILES
            options[name] = str((where / str(configured)).absolute()) if is_file else str(configured)
    return cluster_options.completed(url, options)


def alert_targets(script: str) -> list[str]:
    """Where alerts go, one or several targets in each text: PERDURE_ALERTS, or `alerts` in pyproject.toml.

    Raises:
        OptionError: `alerts` is neither a text nor a list of texts.
    """
    if variable(ALERTS.variable) == "":
        return [""]  # set and empty: none
    found: list[str] | None = _read(ALERTS, script)
    return found or []


def public_url(script: str = "") -> str:
    """How links to this machine are reached from outside: PERDURE_PUBLIC_URL, or `public_url`; empty if not known.

    Raises:
        OptionError: it is not the address of a web server.
    """
    found: str | None = _read(PUBLIC_URL, script)
    return (found or "").rstrip("/")


def ui_url(script: str = "") -> str:
    """Where the page (`perdure ui`) is reached: PERDURE_UI_URL, or `ui_url` in pyproject.toml; empty if not known.

    Raises:
        OptionError: it is not the address of a web server.
    """
    found: str | None = _read(UI_URL, script)
    return (found or "").rstrip("/")


def heartbeat_url(script: str) -> str | None:
    """The address of the dead-man's switch: PERDURE_HEARTBEAT, or `heartbeat` in pyproject.toml."""
    found: str | None = _read(HEARTBEAT, script)
    return found


def alert_breaker_after(script: str = "") -> float:
    """Seconds that a breaker may be open before an alert is sent: PERDURE_ALERT_BREAKER_AFTER, `alert_breaker_after`.

    5 minutes by default.

    Raises:
        OptionError: the value is not a duration.
    """
    found = _read(BREAKER_ALERT, script)
    return BREAKER_AFTER if found is None else float(found)


def alert_interrupts(script: str = "") -> bool:
    """Whether Ctrl-C raises an alert, too: PERDURE_ALERT_INTERRUPTS, or `alert_interrupts` in pyproject.toml."""
    return bool(_read(INTERRUPTS, script))


def crash_limit(script: str = "") -> int:
    """After how many crashes in a row a step is not tried again: PERDURE_CRASH_LIMIT, `crash_limit` in pyproject.toml.

    3 by default. More of them suit machines that are taken away often, in the middle of long steps.

    Raises:
        OptionError: the value is not a whole number of at least 1.
    """
    return _read(CRASHES, script) or CRASH_LIMIT


def suspend_after(script: str = "") -> float:
    """Seconds that a run which only waits stays in its process: PERDURE_SUSPEND_AFTER, `suspend_after`; 60 by default.

    Raises:
        OptionError: the value is not a duration.
    """
    found = _read(SUSPENDS, script)
    return SUSPEND_AFTER if found is None else float(found)


def logs(script: str = "") -> bool:
    """Whether the lines are kept that steps log and print: PERDURE_LOGS, `logs` in pyproject.toml; they are by default.

    Raises:
        OptionError: the value is neither on nor off.
    """
    return _read(LOGS, script) is not False


def stuck_after(script: str = "") -> float:
    """Seconds after which a wait for a signal or a run is alerted: PERDURE_STUCK_AFTER, `stuck_after`; 7 days.

    Raises:
        OptionError: the value is not a duration.
    """
    found = _read(STUCK, script)
    return STUCK_AFTER if found is None else float(found)


def dead_letters(script: str = "") -> int:
    """How many parked dead letters a state file keeps: PERDURE_DEAD_LETTERS, `dead_letters` in pyproject.toml; 10,000.

    Raises:
        OptionError: the value is not a whole number of at least 1.
    """
    return _read(KEPT_LETTERS, script) or DEAD_LETTERS


def artifact_above(script: str) -> int | None:
    """Bytes above which a result lies in a file: PERDURE_ARTIFACT_ABOVE, `artifact_above` in pyproject.toml; 1,000,000.

    None, of the value 0: no result does.

    Raises:
        OptionError: the value is neither 0 nor a whole number of at least 10,000.
    """
    found: int | None = _read(ARTIFACTS, script)
    return ARTIFACT_ABOVE if found is None else found or None


def checked_artifact_above(given: object, option: str, never: str) -> int:
    """A number of bytes above which a result lies in a file, checked.

    Raises:
        OptionError: it is not a whole number of at least 10,000.
    """
    if type(given) is not int or given < SMALLEST_ARTIFACT:
        raise OptionError(f"{option} is {given!r}", f"give a number of bytes from {SMALLEST_ARTIFACT:,} on, or {never}")
    return given


def dead_letter_file() -> Path | None:
    """The JSON Lines file that dead letters are also appended to: WORKFLOW_DLQ_PATH."""
    found: Path | None = _read(LETTER_FILE, "")
    return found


def log_json() -> bool:
    """Whether logs are to be lines of JSON on standard error: PERDURE_LOG_JSON."""
    return bool(_read(LOG_JSON, ""))


def otel(script: str = "") -> bool:
    """Whether runs are reported to OpenTelemetry: PERDURE_OTEL, or `otel` in pyproject.toml."""
    return bool(_read(OTEL, script))


def failures(script: str = "") -> tuple[Rule, ...]:
    """The rules that classify failures: `[[tool.perdure.failures]]` in pyproject.toml.

    Raises:
        OptionError: one of them is not valid.
    """
    configured, where = _configured(script, "failures")
    return () if configured is None else _failure_rules(configured, where / "pyproject.toml")


def _failure_rules(tables: object, path: Path) -> tuple[Rule, ...]:
    from perdure.core.policies.failure_rules import parse

    return parse(tables, str(path))


_tables: dict[str, tuple[dict[str, Any], Path]] = {}
"""By the absolute path of a script that is no link: what a worker asks for again and again."""

_states: dict[str, Path] = {}
"""The state files of these scripts, as long as no variable names another: each run asks for that."""


def _configured(script: str, name: str) -> tuple[Any, Path]:
    """What pyproject.toml says of a setting, and the folder that its paths are relative to.

    Where there is no folder, since the working directory was removed, nobody has said anything: a state file that a
    variable names can be used all the same.
    """
    found = _tables.get(script)
    if found is None:
        try:
            folder = script_folder(script)
        except StateReadOnly:
            if is_nowhere():
                return None, Path()
            raise
        found = _table(folder, project_file.owner_of(script))
        if os.path.isabs(script) and os.path.isfile(script) and not os.path.islink(script):
            _tables[script] = found
    table, where = found
    return table.get(name), where


def forget_files() -> None:
    """Read the files anew that hold settings, and check them, when they are asked for next."""
    _table.cache_clear()
    _tables.clear()
    _states.clear()
    _checked.clear()


@cache
def _table(folder: Path, owner: int | None = None) -> tuple[dict[str, Any], Path]:
    """`[tool.perdure]` of the project, checked, and the folder that its paths are relative to."""
    table, where = project_file.table(folder, owner, KNOWN)
    if "failures" in table:
        # A mistake in a rule is an error now, not at the first failure.
        _failure_rules(table["failures"], where / project_file.NAME)
    return table, where
