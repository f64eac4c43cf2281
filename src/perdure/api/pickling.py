"""Steps and workflows are not handed to other processes by hand, as `multiprocessing` would."""

from __future__ import annotations

from typing import Any

from perdure.core.execution.spec import Decorated
from perdure.engines.interface import under_way
from perdure.errors import UsageError


class KeptHere(Decorated):
    """A step or a workflow, which is refused by `pickle` while a workflow is under way; a copy of it is itself."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What `pickle` asks for.

        Raises:
            UsageError: a workflow of this process is under way, which could not save what another process does.
        """
        if under_way:
            raise UsageError(
                f"{self._spec.owner} is pickled for another process while a workflow is under way: nothing can be "
                "saved there",
                "call it in the process of the workflow: map(..., processes=) runs many at a time in processes of "
                "perdure's, and isolate=True each in a process of its own",
            )
        return super().__reduce_ex__(protocol)

    def __copy__(self) -> Any:
        """Itself."""
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        """Itself."""
        return self
