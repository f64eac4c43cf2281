"""Reads stored artifacts in scripts that have not named `perdure.artifact` in this life: its module is loaded then."""

from __future__ import annotations

from perdure.core.values import artifact_names, registry


def _load() -> None:
    import perdure.api.artifact  # noqa: F401  registers the codec


registry.load_when_met(artifact_names.CODEC, _load)
