"""`perdure.artifact`: large data in a file of its own; what a step returns and passes on is a small reference to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from perdure.core.sizes import show_size
from perdure.core.values import artifact_names, codec, registry
from perdure.engines.interface import here
from perdure.errors import NotStorable, StateCorrupt
from perdure.store import artifacts

T = TypeVar("T")
Kind = Literal["bytes", "text", "value", "parquet", "npy"]

KINDS: Final = ("bytes", "text", "value", "parquet", "npy")

INLINE_ON_CLUSTER: Final = 2_000_000
"""Bytes. On a cluster there are no files: an artifact travels in the record itself."""


class Artifact:
    """Large data that is kept beside the state file, as steps return it and pass it on.

    Attributes:
        digest: BLAKE2b of what the file holds, 64 hexadecimal digits.
        size: its size in bytes.
        summary: what `artifact` was given to say about it.
        name: what it was given as a name.
    """

    __slots__ = ("_data", "_kind", "digest", "name", "size", "summary")

    def __init__(self, digest: str, size: int, kind: Kind, summary: str, name: str, data: bytes | None = None) -> None:
        self.digest = digest
        self.size = size
        self.summary = summary
        self.name = name
        self._kind: Kind = kind
        self._data = data

    @property
    def path(self) -> Path:
        """The file. It is not to be changed.

        Raises:
            StateCorrupt: it is gone.
        """
        if self._data is not None:
            folder = _own_folder()
            artifacts.keep(folder, self._data)
            return folder / self.digest
        return self._found(lambda remake: artifacts.find(self.digest, self._described(), remake=remake))

    def load(self) -> Any:
        """What `artifact` was given: bytes, text, a value, a DataFrame or an array; of a file, its bytes.

        Raises:
            StateCorrupt: the file is gone, or is not what was written.
        """
        data = self._data
        if data is None:
            data = self._found(lambda remake: artifacts.read(self.digest, self.size, self._described(), remake=remake))
        match self._kind:
            case "bytes":
                return data
            case "text":
                return data.decode("utf-8", "surrogatepass")
            case "value":
                return _plan().unpack(data)
            case "parquet":
                import io

                import pandas

                return pandas.read_parquet(io.BytesIO(data))
            case "npy":
                import io

                import numpy

                return numpy.load(io.BytesIO(data), allow_pickle=False)

    def _found(self, look: Callable[[str], T]) -> T:
        """Look for the file; if that fails in a run, once more with the command that makes it again, for the error."""
        try:
            return look("")
        except StateCorrupt:
            context: Any = here.get()
            remake = getattr(getattr(context, "scope", context), "remake", None)
            if remake is None:
                raise
            return look(remake(self.digest))

    def _described(self) -> str:
        return f"artifact {self.name!r}" if self.name else "an artifact"

    def __repr__(self) -> str:
        about = "".join(f", {text!r}" for text in (self.name, self.summary) if text)
        return f"Artifact({show_size(self.size)}{about}, {self.digest[:8]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and other._fields()[:5] == self._fields()[:5]

    def __hash__(self) -> int:
        return hash(self.digest)

    def _fields(self) -> list[Any]:
        return [self.digest, self.size, self._kind, self.summary, self.name, self._data]


def artifact(data: Any, *, summary: str = "", name: str = "") -> Artifact:
    """Keep large data once, in a file beside the state file, and return a small reference to be returned and passed on.

    In a step of a run. The file is durable before the step's result is, and goes with the last run that uses it.
    Outside of a run it is a temporary file. On a cluster the data travels in the record, up to 2 MB.

    Args:
        data: bytes (of a memoryview: what it shows), text, a Path (the file is copied), a DataFrame (as Parquet, if
            pyarrow is installed), a NumPy array, or any value that a step without an annotation can return.
        summary: a few words about it, for people and models.
        name: what it is called in messages.

    Returns:
        An Artifact: `.digest`, `.size`, `.summary`, `.path`, `.load()`.

    Raises:
        NotStorable: it cannot be stored without loss; on a cluster: it is larger than 2 MB.
        OptionError: it is the Path of a pipe, a device or a socket.
        StateError: the file cannot be written.
    """
    kind, content = _content(data)
    context: Any = here.get()
    scope = getattr(context, "scope", context)
    if context is None:
        folder: Path | None = _own_folder()
    else:
        folder = artifact_names.folder_here(scope)
        if folder is not None:
            artifacts.add_folder(folder)
    if folder is None:
        owner = context.call.spec.owner if hasattr(context, "call") else "a workflow"
        if isinstance(content, Path):
            with artifacts.open_regular(content) as file:
                content = file.read()
        if len(content) > INLINE_ON_CLUSTER:
            raise NotStorable(
                f"{owner} makes an artifact of {show_size(len(content))}; on a cluster it holds at most 2 MB",
                "write it to a storage that all workers reach, and return its address",
            )
        return Artifact(artifacts.digest_of(content), len(content), kind, summary, name, content)
    digest, size = artifacts.keep(folder, content)
    return Artifact(digest, size, kind, summary, name)


def _content(data: Any) -> tuple[Kind, bytes | Path]:
    if type(data) is bytes or isinstance(data, memoryview):
        return "bytes", bytes(data)
    if type(data) is str:
        return "text", data.encode("utf-8", "surrogatepass")
    if isinstance(data, Path):
        return "bytes", data
    library = type(data).__module__.partition(".")[0]
    if library == "pandas" and type(data).__name__ == "DataFrame":
        import io
        from importlib.util import find_spec

        if find_spec("pyarrow") is not None:
            file = io.BytesIO()
            data.to_parquet(file)
            return "parquet", file.getvalue()
    if library == "numpy" and type(data).__name__ == "ndarray" and not data.dtype.hasobject:
        import io

        import numpy

        file = io.BytesIO()
        numpy.save(file, data, allow_pickle=False)
        return "npy", file.getvalue()
    return "value", _plan().pack(data)


@cache
def _plan() -> codec.Plan:
    return codec.plan(Any, owner="an artifact")


@cache
def _own_folder() -> Path:
    """Where artifacts lie that are made outside of a run: for as long as the process lives."""
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="perdure-artifacts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return artifacts.folder_of(folder / "state.db")


def _take(one: Artifact) -> Any:
    artifact_names.seen = True
    return one._fields()


def _make(fields: Any) -> Artifact:
    artifact_names.seen = True
    digest, size, kind, summary, name, data = fields
    sound = (
        type(digest) is str
        and artifact_names.is_digest(digest)
        and type(size) is int
        and kind in KINDS
        and type(summary) is type(name) is str
        and (data is None or type(data) is bytes)
    )
    if not sound or (data is not None and artifacts.digest_of(data) != digest):
        raise StateCorrupt("a stored artifact is not what was written", "see `perdure doctor`, or restore a backup")
    return Artifact(digest, size, kind, summary, name, data)


registry.register_own(Artifact, artifact_names.CODEC, _take, _make)
