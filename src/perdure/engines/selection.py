"""Which engine runs a script, by the settings in force."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from perdure.config import settings
from perdure.engines.interface import Engine
from perdure.engines.observers.attach import attached
from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.engines.temporal.engine import TemporalEngine


def engine_for(script: str) -> Engine:
    """The engine for the workflows of a script.

    Raises:
        OptionError: the settings name none, or what it needs is not installed.
        StateError: the state file cannot be used.
    """
    engine = _chosen(script)
    engine.observer = attached(engine.observer, script)
    return engine


def _chosen(script: str) -> Engine:
    url = settings.engine_url(script)
    if url != "local":
        return cluster_at(url)
    from perdure.engines.local import engine_at

    return engine_at(settings.state_path(script))


def cluster_at(url: str) -> TemporalEngine:
    """The engine of a cluster; there is never more than one of this process for one address.

    Raises:
        OptionError: the URL names none, or temporalio is not installed.
    """
    if not url.startswith("temporal://"):
        raise OptionError(
            f"there is no engine {url!r}",
            'it is "local", or a cluster: temporal://HOST:7233/NAMESPACE; '
            "see --engine, PERDURE_ENGINE, and `engine` in pyproject.toml",
        )
    if find_spec("temporalio") is None:
        raise OptionError(
            f"the engine {url!r} needs the package temporalio, which is not installed",
            'pip install "perdure[temporal]"',
        )
    from perdure.engines.temporal.engine import engine_of

    return engine_of(url)
