"""Encrypts what a cluster stores: AES-256-GCM, with keys that it never sees.

A value is encrypted as a whole (its metadata too), in the form of Temporal's own examples, so that their codec servers
can decrypt it for the web page of the cluster: 12 bytes of nonce, then the text and its tag.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)
from temporalio.exceptions import ApplicationError

from perdure.config.secrets import Secret
from perdure.core.values import codec
from perdure.engines.temporal.address import Address
from perdure.engines.temporal.credentials import read_file
from perdure.errors import DecryptionError, OptionError

KEYS = "PERDURE_ENCRYPTION_KEYS"
ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
NONCE = 12
KEY_SIZE = 32
BLIND = 16
"""Bytes of a run's secret that the digests of its inputs are made with."""
AGAIN = 2.0
"""Seconds until a worker gives a step back whose key it has not."""
UNREAD = "DecryptionError"
PLAIN = "plain"
"""In place of the first key: what is encrypted is read, and nothing is encrypted any more."""
MAKE_KEY = 'echo "2026-11:$(openssl rand -base64 32)"'

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class KeyRing:
    """Keys by their ids: the first encrypts, all of them decrypt.

    Args:
        keys: ids and keys of 32 bytes. Without any, nothing is encrypted.
        in_clear: what is encrypted is read, and nothing is encrypted any more.
    """

    def __init__(self, keys: Sequence[tuple[str, bytes]] = (), *, in_clear: bool = False) -> None:
        self.in_clear = in_clear
        self.encrypts = bool(keys) and not in_clear
        self._ciphers: dict[str, Any] = {}
        self._digest_keys: list[bytes] = []
        # As long as they live, no text of perdure's holds the keys.
        self._secrets = [Secret(base64.b64encode(key).decode()) for _, key in keys]
        if not keys:
            return
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers = {id: AESGCM(key) for id, key in keys}
        self._digest_keys = [hashlib.blake2b(b"perdure: ids", key=key).digest() for _, key in keys]
        self._first = keys[0][0]

    def __bool__(self) -> bool:
        return bool(self._ciphers)

    def seal(self, payload: Payload) -> Payload:
        """The payload encrypted; as it is, if nothing is to be encrypted."""
        if not self.encrypts:
            return payload
        nonce = os.urandom(NONCE)
        data = nonce + self._ciphers[self._first].encrypt(nonce, payload.SerializeToString(), None)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: self._first.encode()}, data=data)

    def open(self, payload: Payload) -> Payload:
        """The payload decrypted; as it is, if it is not encrypted.

        Raises:
            DecryptionError: its key is missing, or it was changed.
        """
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        id = payload.metadata.get(KEY_ID, b"").decode("utf-8", "replace")[:64]
        cipher = self._ciphers.get(id)
        if cipher is None:
            raise DecryptionError(
                f"what the cluster has is encrypted with key {id!r}, which this process does not have",
                f"add that key to {KEYS}, or to the file of encryption_keys_file; nothing is lost until then",
            )
        from cryptography.exceptions import InvalidTag

        try:
            return Payload.FromString(cipher.decrypt(payload.data[:NONCE], payload.data[NONCE:], None))
        except (InvalidTag, ValueError):
            raise DecryptionError(
                f"what the cluster has cannot be decrypted with key {id!r}: it is another key of that id, or the value"
                " was changed",
                f"give the key that it was encrypted with in {KEYS}; nothing is lost until then",
            ) from None

    def digests(self, data: bytes) -> list[bytes]:
        """What stands for `data` in an id, so that it cannot be guessed: with each key, and without any, as before.

        The first is for new runs; the others find runs that were started with other keys.
        """
        keyed = [hashlib.blake2b(data, digest_size=16, key=key).digest() for key in self._digest_keys]
        plain = [codec.digest(data)]
        return [*keyed, *plain] if self.encrypts else [*plain, *keyed]

    def new_blind(self) -> bytes:
        """The secret of a new run; none if nothing is encrypted."""
        return os.urandom(BLIND) if self.encrypts else b""


def blinded(blind: bytes, key: bytes) -> bytes:
    """A call's digest as it may stand in an id, where everybody reads it who can see the namespace."""
    return hashlib.blake2b(key, digest_size=16, key=blind).digest() if blind else key


def key_ring_of(address: Address) -> KeyRing:
    """The keys: from the file that is named, else from PERDURE_ENCRYPTION_KEYS; an empty ring if there are none.

    Raises:
        OptionError: they cannot be read, or the package that encrypts is not installed.
    """
    if address.encryption_keys_file:
        where, path = "encryption_keys_file", address.encryption_keys_file
        text = read_file(where, path, secret=True).decode("utf-8", "replace")
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        entries = _entries("\n".join(lines))
        if not entries:
            raise OptionError(f"{where} holds no key: {path}", f"make one with {MAKE_KEY}")
    else:
        where, entries = KEYS, _entries(os.environ.get(KEYS, ""))
    in_clear = entries[:1] == [PLAIN]
    keys = _parsed(entries, where, first=2 if in_clear else 1)
    if keys and find_spec("cryptography") is None:
        raise OptionError(
            "encryption needs the package cryptography, which is not installed", 'pip install "perdure[encryption]"'
        )
    return KeyRing(keys, in_clear=in_clear)


def _entries(text: str) -> list[str]:
    return [entry for entry in re.split(r"[\s,]+", text) if entry]


def _parsed(entries: list[str], where: str, first: int) -> list[tuple[str, bytes]]:
    """Ids and keys from number `first` on; errors count the entries, and quote nothing."""
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(entries[first - 1 :], start=first):
        id, colon, encoded = entry.partition(":")
        if not colon or not _ID.fullmatch(id):
            raise OptionError(f"entry {number} of {where} has no key id", f"make one with {MAKE_KEY}")
        try:
            padded = encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4)
            key = base64.b64decode(padded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_SIZE:
            raise OptionError(f"entry {number} of {where} is no key of 32 bytes in base64", f"make one with {MAKE_KEY}")
        if id in keys:
            raise OptionError(f"{where} has two keys of the id {id!r}", "give each key an id of its own")
        keys[id] = key
    return list(keys.items())


class EncryptionCodec(PayloadCodec, WithSerializationContext):
    """Encrypts and decrypts what travels to and from a cluster.

    Without keys it encrypts nothing, and says by name what cannot be read.
    """

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """What is sent."""
        return [self.ring.seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """What was sent.

        Raises:
            DecryptionError: the key is missing.
        """
        return [self.ring.open(payload) for payload in payloads]

    def with_context(self, context: SerializationContext) -> EncryptionCodec:
        """What belongs to a step is refused in Temporal's way, which offers it again."""
        return _StepCodec(self.ring) if isinstance(context, ActivitySerializationContext) else self


class _StepCodec(EncryptionCodec):
    """The same of a step: one that this worker cannot read is another's, and is given back after a while."""

    _named: set[str] = set()  # noqa: RUF012  of this process

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        try:
            return await super().decode(payloads)
        except DecryptionError as error:
            if error.what not in self._named:
                self._named.add(error.what)
                logging.getLogger("perdure").error("this worker leaves steps to others: %s", error)
            await asyncio.sleep(AGAIN)  # Temporal offers it again by the policy of the step, which may be at once
            raise ApplicationError(str(error), type=UNREAD) from None


def is_unread(failure: Failure) -> bool:
    """Whether an attempt came to a worker without the key, which has not begun it."""
    return UNREAD in (failure.application_failure_info.type, failure.cause.application_failure_info.type)


class _Named(logging.Filter):
    """Takes out Temporal's traceback for each step that cannot be read: one line has said why."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return getattr(error and error.__cause__, "type", None) != UNREAD


def data_converter(ring: KeyRing) -> DataConverter:
    """Temporal's default, with the encryption; texts of errors are encrypted too."""
    logger = logging.getLogger("temporalio.activity")
    if not any(isinstance(each, _Named) for each in logger.filters):
        logger.addFilter(_Named())
    converter = replace(DataConverter.default, payload_codec=EncryptionCodec(ring))
    if ring.encrypts:
        converter = replace(converter, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
    return converter


def key_ring(client: Any) -> KeyRing:
    """The keys of a client that has the converter of this module; without it, none."""
    found = client.data_converter.payload_codec
    return found.ring if isinstance(found, EncryptionCodec) else KeyRing()
