"""What perdure's own rules say about an exception."""

from __future__ import annotations

from perdure.catalogue.rules import own_rules
from perdure.core.policies import classify
from perdure.core.policies.failure_rules import Rules

RULES = Rules(own=own_rules())


def assess(exc: BaseException, now: float) -> classify.Assessment:
    """The assessment at that moment, in seconds since the epoch."""
    return classify.assess(exc, now, RULES)
