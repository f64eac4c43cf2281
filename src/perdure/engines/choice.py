"""Which engine runs a script, by the settings in force."""

from __future__ import annotations

from perdure import settings
from perdure.engines.scope import Engine
from perdure.errors import OptionError


def engine_for(script: str) -> Engine:
    """The engine for the workflows of a script.

    Raises:
        OptionError: PERDURE_ENGINE names none.
        StateError: the state file cannot be used.
    """
    url = settings.engine_url()
    if url != "local":
        raise OptionError(f"PERDURE_ENGINE is {url!r}, which names no engine", "set it to local, or leave it unset")
    from perdure.engines.local import engine_at

    return engine_at(settings.state_path(script))
