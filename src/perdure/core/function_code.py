"""What is known of a function besides whose it is: what its parameters are called, its options, and where it stands."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.core.digests import blake2b


class CodeRow(msgspec.Struct, frozen=True):
    """A function of a user.

    Attributes:
        module, qualname: whose function it is.
        file: its source file; empty if it has none.
        line: the first of it, from 1; 0 if that is not known.
        parameters: their names, in order.
        options: those of the step or workflow that are not as usual, and its kind and name; of a workflow also its
            `body` (a digest of what it executes: see engines/workflow_code.py) and the `names` in that.
        source: the digest of the file (8 bytes), None if it could not be read.
    """

    module: str
    qualname: str
    file: str
    line: int
    parameters: list[str]
    options: dict[str, Any]
    source: bytes | None

    def values(self) -> tuple[Any, ...]:
        """The columns of its row without digest and checksum."""
        json = msgspec.json.encode
        file = self.file.encode("utf-8", "replace").decode()
        said = (json(self.parameters).decode(), json(self.options).decode())
        return self.module, self.qualname, file, self.line, *said, self.source

    def digest(self) -> bytes:
        """What the row goes by: of what it says."""

        return blake2b(msgspec.msgpack.encode(self.values()), digest_size=8).digest()


class Code(msgspec.Struct, frozen=True):
    """What is known of a function, and the digest that it goes by."""

    row: CodeRow
    digest: bytes
