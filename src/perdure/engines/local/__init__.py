"""The engine of one machine: runs workflows in this process, with one SQLite file behind them."""

from __future__ import annotations

from perdure.engines.local.engine import LocalEngine, engine_at

__all__ = ["LocalEngine", "engine_at"]
