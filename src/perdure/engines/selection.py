"""Which engine an address names, by the settings in force; nothing else looks into an address."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.config import cluster_options, settings
from perdure.config.os_errors import own_files
from perdure.config.settings import LOCAL
from perdure.core.loading import Loading
from perdure.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.engines.features import Capabilities
    from perdure.engines.interface import Engine, WorkerEngine
    from perdure.engines.local.state_file_runs import StateFileRuns
    from perdure.engines.temporal.engine import TemporalEngine
    from perdure.store.runs import Store


def engine_for(script: str) -> Engine:
    """The engine for the workflows of a script, with the observers of its settings attached.

    Raises:
        OptionError: the settings name none, or what it needs is not installed.
        StateError: the state file cannot be used.
    """
    with own_files(script):
        recipients, attach = _loaded or _load()
        settings.check(script)
        recipients.check(script)
        engine = engine_at(settings.engine_url(script), settings.state_path(script))
        engine.observer = attach.attached(engine.observer, script)
    return engine


_loaded: tuple[Any, Any] | None = None
"""What each run asks: to import it in the function costs a start nothing, and each run as much as a query."""


def _load() -> tuple[Any, Any]:
    global _loaded
    from perdure.alerts import recipients
    from perdure.engines.observers import attach

    _loaded = recipients, attach
    return _loaded


def engine_at(url: str, state: Path) -> Engine:
    """The engine of this process for an address; there is never more than one.

    Args:
        url: the address: "local", or that of a cluster.
        state: the state file, which only the local engine uses.

    Raises:
        OptionError: the address names no engine, or what it needs is not installed.
        StateError: the state file cannot be used.
    """
    if url != LOCAL:
        return cluster_at(url)
    return (_local_at or _load_local())(state)


_local_at: Callable[[Path], Engine] | None = None


def _load_local() -> Callable[[Path], Engine]:
    global _local_at
    with Loading("perdure.engines.local"):
        from perdure.engines.local import engine_at

    _local_at = engine_at
    return engine_at


def runs_at(url: str, state: Path) -> Engine | StateFileRuns:
    """The runs at an address, for who does not execute them: the local engine is not loaded for that.

    Raises:
        OptionError: the address names no engine, or what it needs is not installed.
    """
    if url != LOCAL:
        return cluster_at(url)
    from perdure.engines.local.state_file_runs import StateFileRuns

    return StateFileRuns(state)


def records_at(
    url: str, state: Path, reference: str | None = None, most: int | None = None
) -> AbstractContextManager[Store]:
    """The records of runs, as `Engine.records` gives them; the local engine is not loaded for that.

    Raises:
        OptionError: the address names no engine, or what it needs is not installed.
        StateError: the state file cannot be used.
        EngineError: the cluster cannot be reached.
    """
    return _state_file(state) if url == LOCAL else cluster_at(url).records(reference, most)


@contextmanager
def _state_file(path: Path) -> Iterator[Store]:
    from perdure.store.runs import Store

    store = Store(path, read_only=True)
    try:
        yield store
    finally:
        store.close()


def capabilities_at(url: str) -> Capabilities:
    """What the engine at an address can do; the engine is not loaded for that.

    Raises:
        OptionError: the address names no engine.
    """
    from perdure.engines import features

    if url == LOCAL:
        return features.LOCAL
    if cluster_options.is_cluster(url):
        return features.TEMPORAL
    raise OptionError(
        f"there is no engine {cluster_options.shown(url)!r}",
        'give "local", or a cluster: temporal://HOST:7233/NAMESPACE, with TLS temporal+tls://HOST:7233/NAMESPACE; '
        "see --engine, PERDURE_ENGINE, and `engine` in pyproject.toml",
    )


def worker_engine_at(url: str, command: str) -> WorkerEngine:
    """The engine at an address, whose workers execute what other processes start.

    Args:
        url: the address.
        command: what needs it, for the error.

    Raises:
        OptionError: the address names no engine that has workers, or what it needs is not installed.
    """
    from perdure.engines.features import Feature

    capabilities_at(url).require(Feature.WORKERS, command=command)
    return cluster_at(url)


def cluster_at(url: str) -> TemporalEngine:
    """The engine of a cluster; there is never more than one of this process for one address.

    Raises:
        OptionError: the URL names none, or temporalio is not installed.
    """
    capabilities_at(url)
    from importlib.util import find_spec

    if find_spec("temporalio") is None:
        raise OptionError(
            f"the engine {cluster_options.shown(url)!r} needs the package temporalio, which is not installed",
            'pip install "perdure[temporal]"',
        )
    from perdure.engines.temporal.engine import engine_of

    return engine_of(url)
