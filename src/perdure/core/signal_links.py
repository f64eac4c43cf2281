"""Links that let their holder do one thing for one run: answer an approval, or send one signal.

A token is `pdl_` and the base64url form (RFC 4648, section 5, without padding) of a code (HMAC-SHA-256, its first 24
bytes) and of what the token says, under that code. Who has the key can make them; who has a token can do what it says,
until it expires. What it says is no secret, the code is: a token is redacted like a credential.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from perdure.errors import BadToken, LinkExpired

PREFIX: Final = "pdl_"
CODE: Final = 24
"""Bytes of the code."""
LONGEST: Final = 4_096
"""Characters of a token."""
_PURPOSE: Final = b"perdure link 1\0"

Kind = Literal["approval", "signal"]


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What a token says.

    Attributes:
        kind: what its holder may do.
        run: the id of the run, as it was when the link was made.
        event: the name of the signal; empty for an approval.
        key: that of the signal.
        nonce: drawn when the link was made, and unique: what is done with it is done once.
        expires: until when, in seconds since the epoch.
    """

    kind: Kind
    run: str
    event: str
    key: str
    nonce: str
    expires: int


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Link).decode


def sign(link: Link, key: bytes) -> str:
    """The token of a link."""
    body = _encode(link)
    return PREFIX + _text(_code(body, key) + body)


def read(token: str, keys: Sequence[bytes], now: float) -> Link:
    """What a token says, if it was made with one of these keys.

    Args:
        token: whatever was given.
        keys: the one that signs, and older ones.
        now: the time of day, in seconds since the epoch.

    Raises:
        BadToken: it was not.
        LinkExpired: it was, and its time is over.
    """
    link = _verified(token, keys)
    if link is None:
        raise BadToken(
            "this link was not made here, or was changed on the way",
            "use the whole link of the message; or run `perdure approve` on the machine of the run",
        )
    if now > link.expires:
        raise LinkExpired("this link has expired", "run `perdure approve` on the machine of the run")
    return link


def _verified(token: str, keys: Sequence[bytes]) -> Link | None:
    if len(token) > LONGEST or not token.isascii() or not token.startswith(PREFIX):
        return None
    text = token.removeprefix(PREFIX)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    code, body = data[:CODE], data[CODE:]
    signed = [hmac.compare_digest(code, _code(body, key)) for key in keys]  # each takes its time, whichever it is
    if not any(signed) or _text(data) != text:  # another spelling of the same bytes is none
        return None
    try:
        return _decode(body)
    except (msgspec.DecodeError, ValueError):
        return None


def _code(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + body, hashlib.sha256)[:CODE]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
