"""The defaults by which recorded calls are compared: those of the time at which a run, or a workflow, was first seen.

A call leaves out what equals its default. So once a default is edited, the same call means something else, and another
call means what was recorded. docs/decisions/0063-defaults-of-their-time.md says more.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from perdure.core.execution.identity import identify
from perdure.core.execution.spec import Call, Spec

_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def pack_defaults(defaults: Mapping[str, bytes]) -> bytes:
    """Digests of defaults, by their parameters, as they are stored."""
    return msgspec.msgpack.encode(dict(sorted(defaults.items())))


def unpack_defaults(packed: bytes | None) -> dict[str, bytes]:
    """What `pack_defaults` was given; nothing, of None."""
    return {} if packed is None else _decode(packed)


def as_recorded(spec: Spec, recorded: Mapping[str, bytes]) -> Spec:
    """A function whose calls are compared by those defaults; the same one, if it has them still."""
    signature = spec.signature.as_recorded(recorded) if recorded else None
    if signature is None:
        return spec
    import copy

    found = copy.copy(spec)
    found.signature = signature
    return found


def identify_as_recorded(call: Call, recorded: Mapping[str, bytes]) -> Call:
    """The same call, compared by those defaults."""
    spec = as_recorded(call.spec, recorded)
    return call if spec is call.spec else identify(spec, call.args, call.kwargs)
