"""What waits, for async code: the names of `perdure` that are awaited here."""

from perdure.api.sh import ash as sh

__all__ = ["sh"]
