"""Variables of the environment by which programs are found that outlive the process which started them."""

from __future__ import annotations

from typing import Final

PROCESS: Final = "PERDURE_PROCESS"
"""Which process started a program."""

STEP: Final = "PERDURE_STEP"
"""Which attempt of which run's step a program belongs to."""

TEMPLATE: Final = "template"
"""In the place of an attempt: a process of perdure's own that makes attempts, or what those are copied from."""
