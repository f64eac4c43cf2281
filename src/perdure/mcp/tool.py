"""A tool: its name, what it is for, which arguments it takes, and what carries it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from perdure.errors import OptionError
from perdure.mcp.answers import Answer
from perdure.operations.location import Location, locate

Cursor = Annotated[str, msgspec.Meta(description="The next_cursor of the answer before, for what follows it.")]
RunReference = Annotated[
    str, msgspec.Meta(description='The id of a run, the beginning of it, or "last".', min_length=1, max_length=500)
]
LetterReference = (
    Annotated[str, msgspec.Meta(description="The number of a dead letter, or RUN#STEP.", min_length=1, max_length=500)]
    | int
)


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a tool takes; each tool has a class of its own."""


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True)
class Where:
    """Which state file the server was started for; None: that of the settings."""

    state: Path | None

    def locate(self) -> Location:
        """The state file, or the cluster that the settings name.

        Raises:
            OptionError: the settings name no engine.
        """
        return locate(self.state)


@dataclass(frozen=True)
class Tool(Generic[A]):
    """One tool.

    Attributes:
        name: by which it is called.
        purpose: what an agent reads of it.
        takes: its arguments.
        perform: carries it out.
        writes: whether it changes anything.
        destructive: whether what it changes cannot be taken back.
    """

    name: str
    purpose: str
    takes: type[A]
    perform: Callable[[Where, A], Answer]
    writes: bool = False
    destructive: bool = False

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        _, definitions = msgspec.json.schema_components([self.takes])
        (found,) = definitions.values()
        return {key: value for key, value in found.items() if key not in ("title", "description")}

    def call(self, where: Where, given: dict[str, Any]) -> Answer:
        """Carry it out.

        Args:
            where: the state file.
            given: the arguments as they arrived.

        Raises:
            OptionError: they are not valid.
            PerdureError: as the operation says.
        """
        try:
            arguments = msgspec.convert(given, self.takes)
        except msgspec.ValidationError as invalid:
            names = ", ".join(self.takes.__struct_fields__) or "none"
            raise OptionError(
                f"the arguments of {self.name} are not valid: {invalid}", f"give those of its schema: {names}"
            ) from None
        return self.perform(where, arguments)
